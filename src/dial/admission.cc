#include "dial/admission.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "dial/errno_name.h"
#include "dial/flow_events.h"
#include "dial/published_marks.h"
#include "net/loopback.h"
#include "policy/compiled/own_names.h"
#include "wire/dns.h"

namespace weir::dial {

namespace {

using audit::Event;
using audit::EventType;

policy::FirstFlight flight_of(const control::Flight& flight) {
  policy::FirstFlight first;
  using Kind = control::Flight::Kind;
  switch (flight.kind) {
    case Kind::tls:
      first.kind = policy::FlightKind::tls;
      break;
    case Kind::http:
      first.kind = policy::FlightKind::http;
      break;
    case Kind::opaque:
      first.kind = policy::FlightKind::opaque;
      break;
    case Kind::h2c_preface:
      first.kind = policy::FlightKind::h2c_preface;
      break;
    case Kind::malformed:
    case Kind::count_:
      first.kind = policy::FlightKind::malformed;
      break;
  }
  first.name = flight.name;
  first.name_present = flight.name_present;
  first.ech = flight.ech;
  return first;
}

bool knows(const std::vector<policy::NameCandidate>& names, const net::DomainName& name) {
  for (const policy::NameCandidate& candidate : names) {
    if (*candidate.name == name) return true;
  }
  return false;
}

bool is_of_this_machine(const policy::HostFacts& facts, const net::IpAddress& address) {
  return net::is_loopback(address) || std::ranges::find(facts.host, address) != facts.host.end();
}

// Also where the policy sets no limit: the kernel's own patience ends long before.
constexpr std::uint64_t kLongestConnectMs = 3'600'000;

}  // namespace

Admission::Admission(sys::Reactor& reactor, policy::Image image, LiveFacts facts, Recorder& recorder, Settings settings,
                     Send send)
    : reactor_(reactor),
      image_(std::move(image)),
      facts_(std::move(facts)),
      recorder_(recorder),
      settings_(std::move(settings)),
      send_(std::move(send)),
      dialer_(reactor),
      egress_(reactor, dialer_),
      inbound_(reactor, recorder),
      host_service_(*net::DomainName::parse(policy::kHostService)),
      limits_(image_.limits(), settings_.flows_possible) {}

Admission::~Admission() {
  stop_waiting();
}

void Admission::handle(const control::FromGateway& message) {
  std::visit([this](const auto& alternative) { on(alternative); }, message);
}

void Admission::end() {
  stop_waiting();
  admitted_.clear();
  while (!flows_.empty()) close_flow(flows_.begin()->first, {.error = errno_name(ECANCELED)});
  inbound_.close_all(ECANCELED);
  recorder_.commit();
}

void Admission::settle() {
  recorder_.commit();
  // Also one that failed meanwhile, on behalf of somebody else, took the records of this round with it.
  const bool recorded = std::exchange(failed_commits_, recorder_.failed_commits()) == recorder_.failed_commits();
  current_facts_ = nullptr;
  for (const Admitted& admitted : std::exchange(admitted_, {})) {
    if (recorded) {
      dial(admitted);
    } else {
      if (const auto flow = flows_.find(admitted.ask.flow); flow != flows_.end()) forget(flow);
      refuse(admitted.ask, policy::refusal(policy::Reason::audit), {});
    }
  }
  inbound_.settle(recorded ? InboundFlows::Written::yes : InboundFlows::Written::no);
  recorder_.commit();  // what ended at once, before anybody hears of it
}

Result<const policy::HostFacts*> Admission::facts() {
  if (current_facts_ == nullptr) {
    WEIR_TRY(current_facts_, facts_.current());
  }
  return current_facts_;
}

std::optional<audit::Rule> Admission::rule_of(const policy::RuleRef& rule) const {
  if (rule.layer == policy::Layer::none) return std::nullopt;
  audit::Rule out;
  out.layer = policy::name_of(rule.layer);
  if (rule.index != policy::RuleRef::kNoEntry) {
    out.index = rule.index;
    out.text = image_.entry_text(rule);
  }
  return out;
}

policy::Request Admission::Place::request() const {
  return {.protocol = protocol,
          .address = dialled.address,
          .port = dialled.port,
          .names = names,
          .nameless_candidate = nameless_candidate};
}

Admission::Place Admission::place_of(net::Protocol protocol, const net::Endpoint& destination,
                                     const std::optional<net::DomainName>& asked_name) const {
  Place place{.protocol = protocol, .dialled = destination, .names = {}, .nameless_candidate = !asked_name};
  const bool host4 = destination.address == settings_.host4;
  if (host4 || destination.address == settings_.host6) {
    place.dialled.address = host4 ? net::kLoopback4 : net::kLoopback6;
    place.names = {{.name = &host_service_, .aliases = {}}};
    place.nameless_candidate = false;
  } else {
    place.names = book_.candidates(destination.address, reactor_.now_ms());
  }
  // A name that the book does not know for this address is no candidate, whatever the gateway says.
  if (asked_name) std::erase_if(place.names, [&](const auto& candidate) { return *candidate.name != *asked_name; });
  place.stands_for_nothing = has_egress() && policy::is_stand_in(place.dialled.address) && place.names.empty();
  return place;
}

policy::Verdict Admission::judge(const Place& place) {
  const auto facts = this->facts();
  if (!facts) return policy::refusal(policy::Reason::floor);
  if (place.stands_for_nothing) return policy::refusal(policy::Reason::no_name);
  const bool published =
      is_of_this_machine(**facts, place.dialled.address) && leads_to_published(place.protocol, place.dialled);
  if (!published && !has_egress()) return policy::admit(image_, **facts, place.request());
  policy::HostFacts with_listeners = **facts;
  if (published) with_listeners.own_listeners.push_back(place.dialled);
  // A tunnel to the proxy itself would be one to everywhere, by whichever address of this machine.
  for (const EgressRoute& each : settings_.egress) {
    const net::Endpoint& proxy = each.proxy.endpoint;
    with_listeners.own_listeners.push_back(proxy);
    const bool same_port = proxy.port == place.dialled.port && is_of_this_machine(**facts, proxy.address);
    if (same_port && is_of_this_machine(**facts, place.dialled.address))
      with_listeners.own_listeners.push_back(place.dialled);
  }
  return policy::admit(image_, with_listeners, place.request());
}

std::uint64_t Admission::connect_timeout_ms() const {
  return std::min(image_.limits()[policy::Limit::connect_timeout_ms], kLongestConnectMs);
}

std::size_t Admission::datagram_clients() const {
  return std::max<std::size_t>(limits_.max_flows() / 2, 1);
}

void Admission::on(const control::Connect& ask) {
  // Numbers only rise: one used again would be two flows in the record, and a socket could be taken for the other's.
  const bool fresh = ask.flow > last_flow_ && ask.flow < InboundFlows::kFirst;
  if (fresh) last_flow_ = ask.flow;
  const bool portless = ask.protocol == net::Protocol::icmp;
  const bool proxied = ask.entry != control::Entry::transparent || ask.name;
  const bool possible = portless == (ask.destination.port == 0) && (!proxied || ask.protocol == net::Protocol::tcp);
  if (!possible || !fresh) return refuse(ask, policy::refusal(policy::Reason::protocol), {});
  if (ask.name && ask.resolution == control::Resolution::not_tried) return judge_name_of(ask);
  judge_address_of(ask);
}

void Admission::judge_address_of(const control::Connect& ask) {
  using Outcome = control::ConnectAnswer::Outcome;
  if (ask.destination.port == kDnsPort && !policy::passes_port_53(image_, ask.destination.address, ask.protocol)) {
    return answer(control::ConnectAnswer{.flow = ask.flow, .outcome = Outcome::resolver});
  }
  consider(ask, Turn::to_take);
}

void Admission::consider(const control::Connect& ask, Turn turn) {
  using Outcome = control::ConnectAnswer::Outcome;
  // Those that this round admitted may stand as soon as they are dialled.
  if (in_the_making_ >= limits_.half_open()) settle();
  const Place place = place_of(ask.protocol, ask.destination, ask.name);
  if (ending_) return refuse(ask, policy::refusal(policy::Reason::shutting_down), place.name());
  const policy::Verdict verdict = judge(place);
  if (verdict.allowed) return consider_allowed(ask, verdict, place, turn);
  if (ask.resolution == control::Resolution::not_tried) {
    auto expired = book_.expired(ask.destination.address, reactor_.now_ms());
    if (!expired.empty()) {
      return answer(control::ConnectAnswer{
          .flow = ask.flow, .outcome = Outcome::resolve, .error = 0, .name = std::move(expired.front())});
    }
  }
  refuse(ask, verdict, place.name());
}

void Admission::consider_allowed(const control::Connect& ask, const policy::Verdict& verdict, const Place& place,
                                 Turn turn) {
  using policy::Limit;
  if (const auto quota = limits_.used_up(account_of(place.dialled)))
    return refuse_over(*quota, policy::Reason::quota, ask, place);
  if (is_full()) return refuse_over(Limit::max_flows, policy::Reason::limit, ask, place);
  if (ask.protocol == net::Protocol::tcp && in_the_making_ >= limits_.half_open())
    return refuse_over(Limit::half_open, policy::Reason::limit, ask, place);
  if (turn == Turn::taken) return admit(ask, verdict, place);
  const auto wait_ms = waiting_.size() < FlowLimits::kMaxWaiting ? limits_.turn(reactor_.now_ms()) : std::nullopt;
  if (!wait_ms) return refuse_over(Limit::connects_per_second, policy::Reason::limit, ask, place);
  if (*wait_ms == 0) return admit(ask, verdict, place);
  wait(ask, place, *wait_ms);
}

void Admission::wait(const control::Connect& ask, const Place& place, std::uint64_t wait_ms) {
  Event event = flow_event(EventType::limit, ask.protocol, ask.entry, place.dialled, place.name());
  event.limits = {hit_of(policy::Limit::connects_per_second)};
  recorder_.record(std::move(event));
  const auto timer = reactor_.at(reactor_.now_ms() + wait_ms, [this, ask] {
    if (suspended_) return void(waiting_.at(ask.flow).timer = 0);
    waiting_.erase(ask.flow);
    consider(ask, Turn::taken);
  });
  waiting_[ask.flow] = {.ask = ask, .timer = timer};
}

void Admission::suspend() {
  settle();
  suspended_ = true;
  egress_.suspend();
}

// Those whose turn came meanwhile take another: together they would be too fast.
void Admission::go_on() {
  suspended_ = false;
  egress_.go_on();
  std::vector<control::Connect> due;
  for (const auto& [flow, each] : waiting_) {
    if (each.timer == 0) due.push_back(each.ask);
  }
  std::ranges::sort(due, {}, &control::Connect::flow);
  for (const control::Connect& ask : due) waiting_.erase(ask.flow);
  for (const control::Connect& ask : due) consider(ask, Turn::to_take);
}

void Admission::stop_waiting() {
  for (const auto& [flow, each] : waiting_) reactor_.cancel(each.timer);
  waiting_.clear();
}

audit::LimitHit Admission::hit_of(policy::Limit limit) const {
  return {.limit = std::string(policy::name_of(limit)), .value = policy::text_of(limit, image_.limits()[limit])};
}

void Admission::refuse_over(policy::Limit limit, policy::Reason reason, const control::Connect& ask,
                            const Place& place) {
  refuse(ask, refusal(reason), place.name(), limit);
}

// An explicit proxy was given a name: judged before it is asked of anybody, and before it has an address.
void Admission::judge_name_of(const control::Connect& ask) {
  const policy::NameVerdict named = policy::judge_name(image_, *ask.name, wire::dns::type::kA);
  policy::Verdict verdict = refusal(ending_ ? policy::Reason::shutting_down : named.reason);
  switch (named.answer) {
    case policy::NameAnswer::ask:
    case policy::NameAnswer::host_service:
      if (ending_) break;
      return answer(control::ConnectAnswer{
          .flow = ask.flow, .outcome = control::ConnectAnswer::Outcome::resolve, .error = 0, .name = ask.name});
    case policy::NameAnswer::localhost:
    case policy::NameAnswer::gateway:
      // The gateway itself, seen from where the proxy is.
      verdict.reason = policy::Reason::floor;
      break;
    case policy::NameAnswer::nxdomain:
    case policy::NameAnswer::nodata:
      verdict.rule = named.rule;
      break;
  }
  refuse(ask, verdict, ask.name->text());
}

void Admission::refuse(const control::Connect& ask, const policy::Verdict& verdict, const std::string& name,
                       std::optional<policy::Limit> limit) {
  const net::Endpoint dialled = place_of(ask.protocol, ask.destination, {}).dialled;
  Event event =
      flow_event(EventType::flow_refuse, ask.protocol, ask.entry, dialled, ask.name ? ask.name->text() : name);
  if (ask.name && ask.resolution == control::Resolution::not_tried) event.dst.reset();
  event.verdict = "refuse";
  event.reason = policy::name_of(verdict.reason);
  event.rule = rule_of(verdict.rule);
  if (limit) event.limits = {hit_of(*limit)};
  recorder_.record(std::move(event));
  answer(control::ConnectAnswer{.flow = ask.flow,
                                .outcome = control::ConnectAnswer::Outcome::refused,
                                .error = 0,
                                .name = {},
                                .reason = static_cast<std::uint8_t>(verdict.reason)});
}

void Admission::admit(const control::Connect& ask, const policy::Verdict& verdict, const Place& place) {
  Event event = flow_event(EventType::flow_open, ask.protocol, ask.entry, place.dialled, place.name());
  event.flow = ask.flow;
  event.verdict = "allow";
  event.rule = rule_of(verdict.rule);
  if (!recorder_.record(std::move(event))) return refuse(ask, policy::refusal(policy::Reason::audit), place.name());
  flows_[ask.flow] = {.protocol = ask.protocol,
                      .destination = ask.destination,
                      .dialled = place.dialled,
                      .entry = ask.entry,
                      .asked_name = ask.name,
                      .name = place.name(),
                      .opened_ms = reactor_.now_ms(),
                      .names = known(place.names),
                      .nameless_candidate = place.nameless_candidate,
                      .held = verdict.hold_first_flight};
  if (has_egress() && policy::is_stand_in(place.dialled.address))
    flows_[ask.flow].stands_for = *place.names.front().name;
  if (ask.protocol == net::Protocol::tcp) ++in_the_making_;
  admitted_.push_back({.ask = ask, .hold = verdict.hold_first_flight});
  book_.touch(ask.destination.address, reactor_.now_ms());
}

void Admission::dial(const Admitted& admitted) {
  const auto flow = flows_.find(admitted.ask.flow);
  if (flow == flows_.end()) return;  // the gateway gave it up meanwhile
  const net::Protocol protocol = flow->second.protocol;
  const net::Endpoint to = flow->second.dialled;
  if (protocol != net::Protocol::tcp) return dialled(admitted, datagram_socket(protocol, to));
  const auto on_done = [this, admitted](Dialled result) { dialled(admitted, std::move(result)); };
  const Dialer::Id id = has_egress()
                            ? egress_.connect(route_to(to.port), target_of(flow->second), connect_timeout_ms(), on_done)
                            : dialer_.connect(to, connect_timeout_ms(), on_done);
  // It may have failed already, and the flow with it.
  if (const auto still = flows_.find(admitted.ask.flow); still != flows_.end()) still->second.dial = id;
}

void Admission::dialled(const Admitted& admitted, Dialled dialled) {
  using Outcome = control::ConnectAnswer::Outcome;
  const control::Connect& ask = admitted.ask;
  if (dialled.error != 0) {
    const auto reason = has_egress() ? policy::Reason::upstream_proxy : policy::Reason::none;
    close_flow(ask.flow, {.error = has_egress() ? dialled.proxy_said : errno_name(dialled.error), .reason = reason});
    return answer(control::ConnectAnswer{.flow = ask.flow,
                                         .outcome = Outcome::failed,
                                         .error = static_cast<std::uint32_t>(dialled.error),
                                         .name = {},
                                         .reason = static_cast<std::uint8_t>(reason)});
  }
  if (const auto flow = flows_.find(ask.flow); flow != flows_.end()) made(flow->second);
  answer(
      control::ConnectAnswer{.flow = ask.flow, .outcome = admitted.hold ? Outcome::connected_hold : Outcome::connected},
      std::move(dialled.socket));
}

void Admission::on(const control::Flight& flight) {
  using Outcome = control::FlightAnswer::Outcome;
  const auto found = flows_.find(flight.flow);
  if (found == flows_.end()) return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::refused});
  Flow& flow = found->second;
  if (flow.cut) return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::refused});
  const Place place = place_of(flow.protocol, flow.destination, flow.asked_name);
  const bool may_lead_here = place.nameless_candidate && flight.resolution == control::Resolution::not_tried;
  if (flight.name && may_lead_here && !knows(place.names, *flight.name)) {
    return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::resolve});
  }
  const auto facts = this->facts();
  const policy::Verdict verdict = facts
                                      ? policy::admit_first_flight(image_, **facts, place.request(), flight_of(flight))
                                      : policy::refusal(policy::Reason::floor);
  if (verdict.allowed) {
    if (flight.name) flow.name = flight.name->text();
    remember(flow, flight_of(flight), place);
    return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::allowed});
  }
  Event event = flow_event(EventType::flow_refuse, flow.protocol, flow.entry, flow.dialled,
                           flight.name ? flight.name->text() : flow.name);
  event.flow = flight.flow;
  event.verdict = "refuse";
  event.reason = policy::name_of(verdict.reason);
  event.rule = rule_of(verdict.rule);
  recorder_.record(std::move(event));
  answer(control::FlightAnswer{
      .flow = flight.flow, .outcome = Outcome::refused, .reason = static_cast<std::uint8_t>(verdict.reason)});
}

void Admission::on(const control::FlowClosed& closed) {
  const auto error = static_cast<int>(closed.error & 0xfff);
  if (closed.flow >= InboundFlows::kFirst)
    return inbound_.close(closed.flow, closed.bytes_up, closed.bytes_down, error);
  if (const auto waiting = waiting_.find(closed.flow); waiting != waiting_.end()) {
    reactor_.cancel(waiting->second.timer);
    waiting_.erase(waiting);
  }
  close_flow(
      closed.flow,
      {.up = closed.bytes_up, .down = closed.bytes_down, .error = error == 0 ? std::string() : errno_name(error)});
}

bool Admission::turn_away(const Arrival& arrival) {
  const policy::Verdict verdict = policy::admit_inbound(image_);
  if (!verdict.allowed) {
    inbound_.refuse(arrival, verdict.reason, rule_of(verdict.rule));
    return true;
  }
  const bool crowded = arrival.protocol == net::Protocol::udp && inbound_.datagrams() >= datagram_clients();
  if (ending_) {
    inbound_.refuse(arrival, policy::Reason::shutting_down);
  } else if (const auto quota = inbound_.used_up()) {
    inbound_.refuse(arrival, policy::Reason::quota, {}, hit_of(*quota));
  } else if (is_full() || crowded) {
    inbound_.refuse(arrival, policy::Reason::limit, {}, hit_of(policy::Limit::max_flows));
  } else {
    return false;
  }
  return true;
}

void Admission::open_inbound(const Arrival& arrival, InboundFlows::Then then) {
  if (turn_away(arrival)) return then(0);
  inbound_.open(arrival, std::move(then));
}

void Admission::close_flow(std::uint64_t flow, const Close& close) {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return;
  const Flow& closing = found->second;
  Event event = flow_event(EventType::flow_close, closing.protocol, closing.entry, closing.dialled, closing.name);
  event.flow = flow;
  event.bytes_up = close.up;
  event.bytes_down = close.down;
  event.ms = reactor_.now_ms() - found->second.opened_ms;
  event.error = close.error;
  if (close.reason != policy::Reason::none) event.reason = policy::name_of(close.reason);
  if (found->second.cut && !close.error.empty()) {
    event.reason = policy::name_of(found->second.cut_by.reason);
    event.rule = rule_of(found->second.cut_by.rule);
  }
  cancel_dial(found->second.dial);
  forget(found);
  recorder_.record(std::move(event));
}

void Admission::made(Flow& flow) {
  if (!std::exchange(flow.passed, true) && flow.protocol == net::Protocol::tcp) --in_the_making_;
}

void Admission::forget(Flows::iterator flow) {
  made(flow->second);
  flows_.erase(flow);
}

void Admission::on(const control::LimitReached& reached) {
  if (reached.limit >= policy::kLimitCount) return;
  const auto limit = static_cast<policy::Limit>(reached.limit);
  if (reached.of == control::LimitReached::Of::published) return inbound_.reached(limit, hit_of(limit), reached.flow);
  Event event;
  event.type = EventType::limit;
  if (reached.name) event.name = reached.name->text();
  if (const auto flow = flows_.find(reached.flow); flow != flows_.end()) {
    const Flow& at = flow->second;
    limits_.note_used_up(limit, account_of(at.dialled));
    event = flow_event(EventType::limit, at.protocol, at.entry, at.dialled, at.name);
    event.flow = reached.flow;
  }
  event.limits = {hit_of(limit)};
  recorder_.record(std::move(event));
}

void Admission::on(const control::Refused& refused) {
  Event event;
  event.type = EventType::flow_refuse;
  event.via = via_of(refused.via);
  const bool stream = refused.via == control::Refused::Via::http || refused.via == control::Refused::Via::socks;
  event.proto = stream ? "tcp" : event.via;
  event.dst = refused.destination.address;
  if (refused.destination.port != 0) event.port = refused.destination.port;
  event.verdict = "refuse";
  event.reason = policy::name_of(refused.reason < policy::kReasonCount ? static_cast<policy::Reason>(refused.reason)
                                                                       : policy::Reason::protocol);
  recorder_.record(std::move(event));
}

}  // namespace weir::dial
