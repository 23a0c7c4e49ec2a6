#include "gateway/proxy/proxy_dials.h"

#include <algorithm>
#include <cerrno>

namespace weir::gateway {

namespace {

// A guest does not learn what an address behind a name is (policy.md section 3): it is one that no rule allows.
policy::Reason shown(std::uint8_t number) {
  const auto reason = number < policy::kReasonCount ? static_cast<policy::Reason>(number) : policy::Reason::no_rule;
  const bool hidden = reason == policy::Reason::rebind || reason == policy::Reason::none;
  return hidden ? policy::Reason::no_rule : reason;
}

ProxyDialled refused(std::uint8_t reason) {
  ProxyDialled result;
  result.reason = shown(reason);
  return result;
}

}  // namespace

bool is_overload(policy::Reason reason) {
  using enum policy::Reason;
  return reason == limit || reason == quota || reason == audit || reason == shutting_down;
}

ProxyDials::Id ProxyDials::start(control::Entry entry, wire::Authority target, OnDone on_done) {
  const Id id = ++last_id_;
  Dial dial;
  dial.entry = entry;
  dial.target = std::move(target);
  dial.on_done = std::move(on_done);
  const net::IpAddress* const literal = dial.target.address();
  const net::IpAddress first = literal != nullptr ? *literal : net::IpAddress();
  dials_.emplace(id, std::move(dial));
  ask(id, first, control::Resolution::not_tried);
  return id;
}

void ProxyDials::cancel(Id id) {
  const auto found = dials_.find(id);
  if (found == dials_.end()) return;
  // Ends the dial where it is under way; the supervisor does not mind a flow that it does not know.
  if (found->second.flow != 0) {
    link_.send(control::FlowClosed{.flow = found->second.flow, .bytes_up = 0, .bytes_down = 0, .error = ECANCELED});
    by_flow_.erase(found->second.flow);
  }
  dials_.erase(found);
}

void ProxyDials::ask(Id id, const net::IpAddress& address, control::Resolution resolution) {
  Dial& dial = dials_.at(id);
  dial.flow = link_.next_id();
  by_flow_.emplace(dial.flow, id);
  control::Connect connect{
      .flow = dial.flow, .destination = {address, *dial.target.port}, .resolution = resolution, .entry = dial.entry};
  if (dial.target.name() != nullptr) connect.name = *dial.target.name();
  link_.send(connect);
}

bool ProxyDials::on_answer(const control::ConnectAnswer& answer, sys::OwnedFd& upstream) {
  using Outcome = control::ConnectAnswer::Outcome;
  const auto waiting = by_flow_.find(answer.flow);
  if (waiting == by_flow_.end()) return false;
  const Id id = waiting->second;
  by_flow_.erase(waiting);
  Dial& dial = dials_.at(id);
  dial.flow = 0;
  ProxyDialled result;
  switch (answer.outcome) {
    case Outcome::resolve:
      if (dial.target.name() != nullptr) {
        resolve(id, wire::dns::type::kA);
      } else if (answer.name) {
        resolve_again(id, *answer.name);
      } else {
        finish(id, refused(0));
      }
      return true;
    case Outcome::failed:
      dial.last.outcome = ProxyDialled::Outcome::failed;
      dial.last.error = static_cast<int>(answer.error);
      dial.last.reason = shown(answer.reason);
      // The upstream proxy had the name: it would be the same for every address that stands for it.
      if (dial.last.reason == policy::Reason::upstream_proxy) {
        finish(id, std::move(dial.last));
      } else {
        try_next(id);
      }
      return true;
    case Outcome::resolver:
      result.outcome = ProxyDialled::Outcome::resolver;
      break;
    case Outcome::connected:
    case Outcome::connected_hold:
      result.outcome = ProxyDialled::Outcome::connected;
      result.flow = answer.flow;
      result.hold = answer.outcome == Outcome::connected_hold;
      result.upstream = std::move(upstream);
      break;
    case Outcome::refused:
    case Outcome::count_:
      result = refused(answer.reason);
      break;
  }
  finish(id, std::move(result));
  return true;
}

void ProxyDials::resolve(Id id, wire::dns::Type type) {
  Dial& dial = dials_.at(id);
  dial.asked_ipv6 = type == wire::dns::type::kAaaa;
  // The answer may come at once, and the dial be over then.
  const net::DomainName name = *dial.target.name();
  resolver_.ask(name, type, [this, id](const Outcome& outcome) { resolved(id, outcome); });
}

void ProxyDials::resolved(Id id, const Outcome& outcome) {
  const auto found = dials_.find(id);
  if (found == dials_.end()) return;
  Dial& dial = found->second;
  if (outcome.addresses.empty()) {
    // What IPv4 said last, a refusal or a connect that failed, tells more than that there is no IPv6.
    const bool first = !dial.asked_ipv6;
    if (outcome.refused) dial.last = refused(outcome.reason);
    if (first && !outcome.refused) dial.last.outcome = ProxyDialled::Outcome::unresolved;
  } else {
    const std::size_t count = std::min(outcome.addresses.size(), kMaxAddresses);
    dial.addresses.assign(outcome.addresses.begin(), outcome.addresses.begin() + static_cast<std::ptrdiff_t>(count));
    std::ranges::reverse(dial.addresses);
  }
  try_next(id);
}

void ProxyDials::try_next(Id id) {
  Dial& dial = dials_.at(id);
  if (!dial.addresses.empty()) {
    const net::IpAddress address = dial.addresses.back();
    dial.addresses.pop_back();
    return ask(id, address, control::Resolution::tried);
  }
  if (dial.target.name() != nullptr && !dial.asked_ipv6) return resolve(id, wire::dns::type::kAaaa);
  finish(id, std::move(dial.last));
}

// A literal whose pair in the name book has expired.
void ProxyDials::resolve_again(Id id, const net::DomainName& name) {
  resolver_.resolve(name, [this, id] {
    const auto still = dials_.find(id);
    if (still != dials_.end()) ask(id, *still->second.target.address(), control::Resolution::tried);
  });
}

void ProxyDials::finish(Id id, ProxyDialled result) {
  auto node = dials_.extract(id);
  node.mapped().on_done(std::move(result));
}

}  // namespace weir::gateway
