#include "dial/admission.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "policy/compiled/own_names.h"
#include "wire/dns.h"

namespace weir::dial {

namespace {

using audit::Event;
using audit::EventType;

std::string errno_name(int code) {
  const char* name = ::strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

std::string rcode_text(std::uint16_t rcode) {
  switch (rcode) {
    case 0:
      return "NOERROR";
    case 1:
      return "FORMERR";
    case 2:
      return "SERVFAIL";
    case 3:
      return "NXDOMAIN";
    default:
      return std::to_string(rcode);
  }
}

Event flow_event(EventType type, net::Protocol protocol, const net::Endpoint& destination, const std::string& name) {
  Event event;
  event.type = type;
  event.proto = net::name_of(protocol);
  event.via = event.proto;
  event.name = name;
  event.dst = destination.address;
  if (protocol != net::Protocol::icmp) event.port = destination.port;
  return event;
}

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

policy::Verdict refusal(policy::Reason reason) {
  policy::Verdict verdict;
  verdict.reason = reason;
  return verdict;
}

constexpr net::Port kDnsPort = 53;
// Connects to resolvers and destinations under way at a time: a descriptor each in this process.
constexpr std::size_t kMaxDials = 8192;
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
  while (!flows_.empty()) close_flow(flows_.begin()->first, 0, 0, ECANCELED);
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
      refuse(admitted.ask, refusal(policy::Reason::audit), {});
    }
  }
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

Admission::Place Admission::place_of(net::Protocol protocol, const net::Endpoint& destination) const {
  const bool host4 = destination.address == settings_.host4;
  if (host4 || destination.address == settings_.host6) {
    const net::IpAddress loopback = host4 ? net::IpAddress::v4({127, 0, 0, 1}) : *net::IpAddress::parse("::1");
    return {.protocol = protocol,
            .dialled = {loopback, destination.port},
            .names = {{.name = &host_service_, .aliases = {}}},
            .nameless_candidate = false};
  }
  return {.protocol = protocol,
          .dialled = destination,
          .names = book_.candidates(destination.address, reactor_.now_ms()),
          .nameless_candidate = true};
}

policy::Verdict Admission::judge(const Place& place) {
  const auto facts = this->facts();
  return facts ? policy::admit(image_, **facts, place.request()) : refusal(policy::Reason::floor);
}

void Admission::on(const control::Connect& ask) {
  using Outcome = control::ConnectAnswer::Outcome;
  // Numbers only rise: one used again would be two flows in the record, and a socket could be taken for the other's.
  const bool fresh = ask.flow > last_flow_;
  last_flow_ = std::max(last_flow_, ask.flow);
  const bool portless = ask.protocol == net::Protocol::icmp;
  if (portless != (ask.destination.port == 0) || !fresh) return refuse(ask, refusal(policy::Reason::protocol), {});
  if (ask.destination.port == kDnsPort && !policy::passes_port_53(image_, ask.destination.address, ask.protocol)) {
    return answer(control::ConnectAnswer{.flow = ask.flow, .outcome = Outcome::resolver, .error = 0, .name = {}});
  }
  consider(ask, Turn::to_take);
}

void Admission::consider(const control::Connect& ask, Turn turn) {
  using Outcome = control::ConnectAnswer::Outcome;
  // Those that this round admitted may stand as soon as they are dialled.
  if (in_the_making_ >= limits_.half_open()) settle();
  const Place place = place_of(ask.protocol, ask.destination);
  if (ending_) return refuse(ask, refusal(policy::Reason::shutting_down), place.name());
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
  if (const auto quota = limits_.used_up(place.dialled.address))
    return refuse_over(*quota, policy::Reason::quota, ask, place);
  if (flows_.size() >= limits_.max_flows()) return refuse_over(Limit::max_flows, policy::Reason::limit, ask, place);
  if (ask.protocol == net::Protocol::tcp && in_the_making_ >= limits_.half_open())
    return refuse_over(Limit::half_open, policy::Reason::limit, ask, place);
  if (turn == Turn::taken) return admit(ask, verdict, place);
  const auto wait_ms = waiting_.size() < FlowLimits::kMaxWaiting ? limits_.turn(reactor_.now_ms()) : std::nullopt;
  if (!wait_ms) return refuse_over(Limit::connects_per_second, policy::Reason::limit, ask, place);
  if (*wait_ms == 0) return admit(ask, verdict, place);
  wait(ask, place, *wait_ms);
}

void Admission::wait(const control::Connect& ask, const Place& place, std::uint64_t wait_ms) {
  Event event = limit_event(policy::Limit::connects_per_second);
  event.proto = net::name_of(ask.protocol);
  event.name = place.name();
  event.dst = place.dialled.address;
  if (ask.protocol != net::Protocol::icmp) event.port = place.dialled.port;
  recorder_.record(std::move(event));
  waiting_[ask.flow] = reactor_.at(reactor_.now_ms() + wait_ms, [this, ask] {
    waiting_.erase(ask.flow);
    consider(ask, Turn::taken);
  });
}

void Admission::stop_waiting() {
  for (const auto& [flow, timer] : waiting_) reactor_.cancel(timer);
  waiting_.clear();
}

audit::LimitHit Admission::hit_of(policy::Limit limit) const {
  return {.limit = std::string(policy::name_of(limit)), .value = policy::text_of(limit, image_.limits()[limit])};
}

Event Admission::limit_event(policy::Limit limit) const {
  Event event;
  event.type = EventType::limit;
  event.limits = {hit_of(limit)};
  return event;
}

void Admission::refuse_over(policy::Limit limit, policy::Reason reason, const control::Connect& ask,
                            const Place& place) {
  refuse(ask, refusal(reason), place.name(), limit);
}

void Admission::refuse(const control::Connect& ask, const policy::Verdict& verdict, const std::string& name,
                       std::optional<policy::Limit> limit) {
  Event event = flow_event(EventType::flow_refuse, ask.protocol, place_of(ask.protocol, ask.destination).dialled, name);
  event.verdict = "refuse";
  event.reason = policy::name_of(verdict.reason);
  event.rule = rule_of(verdict.rule);
  if (limit) event.limits = {hit_of(*limit)};
  recorder_.record(std::move(event));
  answer(control::ConnectAnswer{
      .flow = ask.flow, .outcome = control::ConnectAnswer::Outcome::refused, .error = 0, .name = {}});
}

void Admission::admit(const control::Connect& ask, const policy::Verdict& verdict, const Place& place) {
  Event event = flow_event(EventType::flow_open, ask.protocol, place.dialled, place.name());
  event.flow = ask.flow;
  event.verdict = "allow";
  event.rule = rule_of(verdict.rule);
  if (!recorder_.record(std::move(event))) return refuse(ask, refusal(policy::Reason::audit), place.name());
  flows_[ask.flow] = {.protocol = ask.protocol,
                      .destination = ask.destination,
                      .dialled = place.dialled,
                      .name = place.name(),
                      .opened_ms = reactor_.now_ms(),
                      .in_the_making = ask.protocol == net::Protocol::tcp};
  if (ask.protocol == net::Protocol::tcp) ++in_the_making_;
  admitted_.push_back({.ask = ask, .hold = verdict.hold_first_flight});
  book_.touch(ask.destination.address, reactor_.now_ms());
}

void Admission::dial(const Admitted& admitted) {
  const auto flow = flows_.find(admitted.ask.flow);
  if (flow == flows_.end()) return;  // the gateway gave it up meanwhile
  const net::Protocol protocol = flow->second.protocol;
  if (protocol != net::Protocol::tcp) return dialled(admitted, datagram_socket(protocol, flow->second.dialled));
  const Dialer::Id id = dialer_.connect(flow->second.dialled,
                                        std::min(image_.limits()[policy::Limit::connect_timeout_ms], kLongestConnectMs),
                                        [this, admitted](Dialled result) { dialled(admitted, std::move(result)); });
  // It may have failed already, and the flow with it.
  if (const auto still = flows_.find(admitted.ask.flow); still != flows_.end()) still->second.dial = id;
}

void Admission::dialled(const Admitted& admitted, Dialled dialled) {
  using Outcome = control::ConnectAnswer::Outcome;
  const control::Connect& ask = admitted.ask;
  if (dialled.error != 0) {
    close_flow(ask.flow, 0, 0, dialled.error);
    return answer(control::ConnectAnswer{
        .flow = ask.flow, .outcome = Outcome::failed, .error = static_cast<std::uint32_t>(dialled.error), .name = {}});
  }
  if (const auto flow = flows_.find(ask.flow); flow != flows_.end()) made(flow->second);
  answer(control::ConnectAnswer{.flow = ask.flow,
                                .outcome = admitted.hold ? Outcome::connected_hold : Outcome::connected,
                                .error = 0,
                                .name = {}},
         std::move(dialled.socket));
}

void Admission::on(const control::Flight& flight) {
  using Outcome = control::FlightAnswer::Outcome;
  const auto found = flows_.find(flight.flow);
  if (found == flows_.end()) return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::refused});
  Flow& flow = found->second;
  const Place place = place_of(flow.protocol, flow.destination);
  if (flight.name && flight.resolution == control::Resolution::not_tried && !knows(place.names, *flight.name)) {
    return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::resolve});
  }
  const auto facts = this->facts();
  const policy::Verdict verdict = facts
                                      ? policy::admit_first_flight(image_, **facts, place.request(), flight_of(flight))
                                      : refusal(policy::Reason::floor);
  if (verdict.allowed) {
    if (flight.name) flow.name = flight.name->text();
    return answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::allowed});
  }
  Event event =
      flow_event(EventType::flow_refuse, flow.protocol, flow.dialled, flight.name ? flight.name->text() : flow.name);
  event.flow = flight.flow;
  event.verdict = "refuse";
  event.reason = policy::name_of(verdict.reason);
  event.rule = rule_of(verdict.rule);
  recorder_.record(std::move(event));
  answer(control::FlightAnswer{.flow = flight.flow, .outcome = Outcome::refused});
}

void Admission::on(const control::Learn& learn) {
  if (!learn.name) return;
  settle();  // what was recorded before is not to be undone by this one
  control::LearnAnswer reply{.query = learn.query, .allowed = 0};
  policy::Verdict last = refusal(policy::Reason::no_rule);
  const auto facts = this->facts();
  const policy::NameCandidate candidate{.name = &*learn.name, .aliases = learn.aliases};
  for (std::size_t i = 0; facts && i < learn.addresses.size(); ++i) {
    const policy::Verdict verdict = policy::judge_answer(image_, **facts, candidate, learn.addresses[i]);
    if (verdict.allowed) reply.allowed |= 1u << i;
    if (!verdict.allowed) last = verdict;
  }
  // What cannot be recorded is not answered.
  const bool recorded = recorder_.record(learn_event(learn, reply.allowed, last)) && recorder_.commit();
  if (!recorded) reply.allowed = 0;
  for (std::size_t i = 0; i < learn.addresses.size(); ++i) {
    if ((reply.allowed >> i & 1) == 0) continue;
    book_.learn(*learn.name, learn.aliases, learn.addresses[i], learn.ttl, reactor_.now_ms());
  }
  answer(reply);
}

audit::Event Admission::learn_event(const control::Learn& learn, std::uint32_t allowed,
                                    const policy::Verdict& refused) const {
  Event event;
  event.name = learn.name->text();
  event.query_type = wire::dns::type_text(learn.type);
  event.rcode = rcode_text(0);
  if (allowed == 0) {
    event.type = EventType::dns_refuse;
    event.verdict = "refuse";
    event.reason = policy::name_of(refused.reason);
    event.rule = rule_of(refused.rule);
    event.addresses = learn.addresses;
    return event;
  }
  event.type = EventType::dns_answer;
  event.verdict = "allow";
  for (std::size_t i = 0; i < learn.addresses.size(); ++i) {
    if ((allowed >> i & 1) != 0) event.addresses.push_back(learn.addresses[i]);
  }
  return event;
}

void Admission::on(const control::NameAnswered& answered) {
  Event event;
  event.type = EventType::dns_answer;
  if (answered.name) event.name = answered.name->text();
  event.query_type = wire::dns::type_text(answered.type);
  event.rcode = rcode_text(answered.rcode);
  event.verdict = "allow";
  recorder_.record(std::move(event));
}

void Admission::on(const control::NameRefused& refused) {
  Event event;
  event.type = EventType::dns_refuse;
  if (refused.name) event.name = refused.name->text();
  event.query_type = wire::dns::type_text(refused.type);
  event.rcode = rcode_text(refused.rcode);
  event.verdict = "refuse";
  event.reason = policy::name_of(refused.reason < policy::kReasonCount ? static_cast<policy::Reason>(refused.reason)
                                                                       : policy::Reason::malformed);
  if (refused.layer <= static_cast<std::uint8_t>(policy::Layer::run)) {
    event.rule = rule_of({.layer = static_cast<policy::Layer>(refused.layer), .index = refused.entry});
  }
  if (refused.limit < policy::kLimitCount) event.limits = {hit_of(static_cast<policy::Limit>(refused.limit))};
  recorder_.record(std::move(event));
}

void Admission::on(const control::OpenResolver& ask) {
  const auto fail_with = [this, &ask](int error) {
    answer(control::ResolverAnswer{.query = ask.query, .error = static_cast<std::uint32_t>(error)});
  };
  if (ask.server >= settings_.resolvers.size()) return fail_with(EINVAL);
  if (!recorder_.healthy()) return fail_with(EIO);
  if (dialer_.pending() >= kMaxDials) return fail_with(EAGAIN);
  const net::Endpoint& resolver = settings_.resolvers[ask.server];
  if (ask.tcp) {
    constexpr std::uint64_t kTimeoutMs = 5000;
    dialer_.connect(resolver, kTimeoutMs, [this, query = ask.query](Dialled dialled) {
      answer(control::ResolverAnswer{.query = query, .error = static_cast<std::uint32_t>(dialled.error)},
             std::move(dialled.socket));
    });
    return;
  }
  auto socket = connected_udp(resolver);
  if (!socket) return fail_with(socket.error().code());
  answer(control::ResolverAnswer{.query = ask.query, .error = 0}, std::move(*socket));
}

void Admission::on(const control::FlowClosed& closed) {
  close_flow(closed.flow, closed.bytes_up, closed.bytes_down, static_cast<int>(closed.error & 0xfff));
}

void Admission::close_flow(std::uint64_t flow, std::uint64_t up, std::uint64_t down, int error) {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return;
  Event event = flow_event(EventType::flow_close, found->second.protocol, found->second.dialled, found->second.name);
  event.flow = flow;
  event.bytes_up = up;
  event.bytes_down = down;
  event.ms = reactor_.now_ms() - found->second.opened_ms;
  if (error != 0) event.error = errno_name(error);
  dialer_.cancel(found->second.dial);
  forget(found);
  recorder_.record(std::move(event));
}

void Admission::made(Flow& flow) {
  if (std::exchange(flow.in_the_making, false)) --in_the_making_;
}

void Admission::forget(Flows::iterator flow) {
  made(flow->second);
  flows_.erase(flow);
}

void Admission::on(const control::LimitReached& reached) {
  if (reached.limit >= policy::kLimitCount) return;
  const auto limit = static_cast<policy::Limit>(reached.limit);
  Event event = limit_event(limit);
  if (reached.name) event.name = reached.name->text();
  if (const auto flow = flows_.find(reached.flow); flow != flows_.end()) {
    const Flow& at = flow->second;
    limits_.note_used_up(limit, at.dialled.address);
    event.flow = reached.flow;
    event.proto = net::name_of(at.protocol);
    event.name = at.name;
    event.dst = at.dialled.address;
    if (at.protocol != net::Protocol::icmp) event.port = at.dialled.port;
  }
  recorder_.record(std::move(event));
}

void Admission::on(const control::Refused& refused) {
  Event event;
  event.type = EventType::flow_refuse;
  using Via = control::Refused::Via;
  event.via = refused.via == Via::tcp    ? "tcp"
              : refused.via == Via::udp  ? "udp"
              : refused.via == Via::icmp ? "icmp"
                                         : "other";
  event.proto = event.via;
  event.dst = refused.destination.address;
  if (refused.destination.port != 0) event.port = refused.destination.port;
  event.verdict = "refuse";
  event.reason = policy::name_of(refused.reason < policy::kReasonCount ? static_cast<policy::Reason>(refused.reason)
                                                                       : policy::Reason::protocol);
  recorder_.record(std::move(event));
}

}  // namespace weir::dial
