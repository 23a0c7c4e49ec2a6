// The part of admission that a narrower policy needs: what is remembered of a flow, and what becomes of it.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "dial/admission.h"
#include "dial/errno_name.h"

namespace weir::dial {

std::vector<Admission::KnownName> Admission::known(const std::vector<policy::NameCandidate>& names) {
  std::vector<KnownName> out;
  out.reserve(names.size());
  for (const policy::NameCandidate& each : names) {
    out.push_back({.name = *each.name, .aliases = {each.aliases.begin(), each.aliases.end()}});
  }
  return out;
}

// A flight may bring a name that the book did not know at the SYN.
void Admission::remember(Flow& flow, policy::FirstFlight flight, const Place& place) {
  flow.names = known(place.names);
  const auto same = [&](const policy::FirstFlight& each) { return each == flight; };
  if (flow.flights.size() > kMaxFlights || std::ranges::any_of(flow.flights, same)) return;
  flow.flights.push_back(std::move(flight));
}

// Asks about a flow as it was asked when it began, so that a name that came or went since makes no difference.
policy::Verdict Admission::judge_again(const Flow& flow) {
  const auto facts = this->facts();
  if (!facts) return policy::refusal(policy::Reason::floor);
  if (flow.dialled.port == kDnsPort && !policy::passes_port_53(image_, flow.destination.address, flow.protocol)) {
    return policy::refusal(policy::Reason::no_rule);
  }
  if (flow.flights.size() > kMaxFlights) return policy::refusal(policy::Reason::limit);
  std::vector<policy::NameCandidate> names;
  for (const KnownName& each : flow.names) names.push_back({.name = &each.name, .aliases = each.aliases});
  const policy::Request request{.protocol = flow.protocol,
                                .address = flow.dialled.address,
                                .port = flow.dialled.port,
                                .names = names,
                                .nameless_candidate = flow.nameless_candidate};
  policy::Verdict verdict = policy::admit(image_, **facts, request);
  // Nobody has read the name that this policy wants to know.
  if (verdict.allowed && verdict.hold_first_flight && !flow.held) return policy::refusal(policy::Reason::no_name);
  for (const policy::FirstFlight& flight : flow.flights) {
    if (verdict.allowed) verdict = policy::admit_first_flight(image_, **facts, request, flight);
  }
  return verdict;
}

void Admission::cut(std::uint64_t number, Flow& flow, const policy::Verdict& verdict) {
  flow.cut = true;
  flow.cut_by = verdict;
  if (flow.passed) return answer(control::Cut{.flow = number});
  close_flow(number, {.error = errno_name(ECONNABORTED)});
  answer(control::ConnectAnswer{.flow = number,
                                .outcome = control::ConnectAnswer::Outcome::refused,
                                .error = 0,
                                .name = {},
                                .reason = static_cast<std::uint8_t>(verdict.reason)});
}

// A name that is denied stays: as long as it is known, its address is not reached without a name either.
void Admission::forget_names() {
  const auto facts = this->facts();
  book_.forget_if([&](const policy::NameCandidate& name, const net::IpAddress& address) {
    if (!facts) return true;
    const policy::Verdict verdict = policy::judge_answer(image_, **facts, name, address);
    return !verdict.allowed && verdict.reason != policy::Reason::denied_by_rule;
  });
}

std::size_t Admission::narrow(policy::Image image) {
  image_ = std::move(image);
  limits_.narrow(image_.limits(), reactor_.now_ms());
  forget_names();
  std::vector<std::pair<std::uint64_t, policy::Verdict>> lost;
  for (const auto& [number, flow] : flows_) {
    const policy::Verdict verdict = judge_again(flow);
    if (!verdict.allowed && !flow.cut) lost.emplace_back(number, verdict);
  }
  for (const auto& [number, verdict] : lost) cut(number, flows_.at(number), verdict);
  const std::size_t count = lost.size() + cut_inbound();
  recorder_.commit();
  return count;
}

std::size_t Admission::cut_inbound() {
  const policy::Verdict verdict = policy::admit_inbound(image_);
  if (verdict.allowed) return 0;
  const std::size_t before = inbound_.size() - inbound_.cuts_open();
  for (const std::uint64_t flow : inbound_.cut(verdict, rule_of(verdict.rule))) answer(control::Cut{.flow = flow});
  return before;
}

std::size_t Admission::cuts_open() const {
  const auto cut = std::ranges::count_if(flows_, [](const auto& each) { return each.second.cut; });
  return static_cast<std::size_t>(cut) + inbound_.cuts_open();
}

}  // namespace weir::dial
