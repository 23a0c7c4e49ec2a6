#include "dial/admission.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "dial/errno_name.h"
#include "dial/published_marks.h"
#include "net/loopback.h"
#include "policy/compiled/own_names.h"
#include "wire/dns.h"

namespace weir::dial {

namespace {

using audit::Event;
using audit::EventType;

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

std::string via_of(net::Protocol protocol, control::Entry entry) {
  switch (entry) {
    case control::Entry::http:
      return "http";
    case control::Entry::socks:
      return "socks";
    case control::Entry::transparent:
    case control::Entry::count_:
      break;
  }
  return std::string(net::name_of(protocol));
}

std::string via_of(control::Refused::Via via) {
  switch (via) {
    case control::Refused::Via::tcp:
      return "tcp";
    case control::Refused::Via::udp:
      return "udp";
    case control::Refused::Via::icmp:
      return "icmp";
    case control::Refused::Via::http:
      return "http";
    case control::Refused::Via::socks:
      return "socks";
    case control::Refused::Via::other:
    case control::Refused::Via::count_:
      break;
  }
  return "other";
}

Event flow_event(EventType type, net::Protocol protocol, control::Entry entry, const net::Endpoint& destination,
                 const std::string& name) {
  Event event;
  event.type = type;
  event.proto = net::name_of(protocol);
  event.via = via_of(protocol, entry);
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

bool is_of_this_machine(const policy::HostFacts& facts, const net::IpAddress& address) {
  return net::is_loopback(address) || std::ranges::find(facts.host, address) != facts.host.end();
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
  while (!flows_.empty()) close_flow(flows_.begin()->first, 0, 0, ECANCELED);
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
      refuse(admitted.ask, refusal(policy::Reason::audit), {});
    }
  }
  inbound_.settle(recorded ? InboundFlows::Written::yes : InboundFlows::Written::no);
  recorder_.commit();  // what ended at once, before anybody hears of it
}

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
  if (!facts) return refusal(policy::Reason::floor);
  if (flow.dialled.port == kDnsPort && !policy::passes_port_53(image_, flow.destination.address, flow.protocol)) {
    return refusal(policy::Reason::no_rule);
  }
  if (flow.flights.size() > kMaxFlights) return refusal(policy::Reason::limit);
  std::vector<policy::NameCandidate> names;
  for (const KnownName& each : flow.names) names.push_back({.name = &each.name, .aliases = each.aliases});
  const policy::Request request{.protocol = flow.protocol,
                                .address = flow.dialled.address,
                                .port = flow.dialled.port,
                                .names = names,
                                .nameless_candidate = flow.nameless_candidate};
  policy::Verdict verdict = policy::admit(image_, **facts, request);
  // Nobody has read the name that this policy wants to know.
  if (verdict.allowed && verdict.hold_first_flight && !flow.held) return refusal(policy::Reason::no_name);
  for (const policy::FirstFlight& flight : flow.flights) {
    if (verdict.allowed) verdict = policy::admit_first_flight(image_, **facts, request, flight);
  }
  return verdict;
}

void Admission::cut(std::uint64_t number, Flow& flow, const policy::Verdict& verdict) {
  flow.cut = true;
  flow.cut_by = verdict;
  if (flow.passed) return answer(control::Cut{.flow = number});
  close_flow(number, 0, 0, ECONNABORTED);
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
  return place;
}

policy::Verdict Admission::judge(const Place& place) {
  const auto facts = this->facts();
  if (!facts) return refusal(policy::Reason::floor);
  if (!is_of_this_machine(**facts, place.dialled.address) || !leads_to_published(place.protocol, place.dialled))
    return policy::admit(image_, **facts, place.request());
  policy::HostFacts with_listener = **facts;
  with_listener.own_listeners.push_back(place.dialled);
  return policy::admit(image_, with_listener, place.request());
}

std::uint64_t Admission::connect_timeout_ms() const {
  return std::min(image_.limits()[policy::Limit::connect_timeout_ms], kLongestConnectMs);
}

void Admission::on(const control::Connect& ask) {
  using Outcome = control::ConnectAnswer::Outcome;
  // Numbers only rise: one used again would be two flows in the record, and a socket could be taken for the other's.
  const bool fresh = ask.flow > last_flow_ && ask.flow < InboundFlows::kFirst;
  if (fresh) last_flow_ = ask.flow;
  const bool portless = ask.protocol == net::Protocol::icmp;
  const bool proxied = ask.entry != control::Entry::transparent || ask.name;
  const bool possible = portless == (ask.destination.port == 0) && (!proxied || ask.protocol == net::Protocol::tcp);
  if (!possible || !fresh) return refuse(ask, refusal(policy::Reason::protocol), {});
  if (ask.name && ask.resolution == control::Resolution::not_tried) return judge_name_of(ask);
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
  if (!recorder_.record(std::move(event))) return refuse(ask, refusal(policy::Reason::audit), place.name());
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
  if (ask.protocol == net::Protocol::tcp) ++in_the_making_;
  admitted_.push_back({.ask = ask, .hold = verdict.hold_first_flight});
  book_.touch(ask.destination.address, reactor_.now_ms());
}

void Admission::dial(const Admitted& admitted) {
  const auto flow = flows_.find(admitted.ask.flow);
  if (flow == flows_.end()) return;  // the gateway gave it up meanwhile
  const net::Protocol protocol = flow->second.protocol;
  if (protocol != net::Protocol::tcp) return dialled(admitted, datagram_socket(protocol, flow->second.dialled));
  const Dialer::Id id = dialer_.connect(flow->second.dialled, connect_timeout_ms(),
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
        .flow = ask.flow, .outcome = Outcome::failed, .error = static_cast<std::uint32_t>(dialled.error)});
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
                                      : refusal(policy::Reason::floor);
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
  if (reply.allowed == 0) reply.reason = static_cast<std::uint8_t>(recorded ? last.reason : policy::Reason::audit);
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
  if (refused.layer <= static_cast<std::uint8_t>(policy::kInnermostLayer)) {
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
  const auto error = static_cast<int>(closed.error & 0xfff);
  if (closed.flow >= InboundFlows::kFirst)
    return inbound_.close(closed.flow, closed.bytes_up, closed.bytes_down, error);
  if (const auto waiting = waiting_.find(closed.flow); waiting != waiting_.end()) {
    reactor_.cancel(waiting->second);
    waiting_.erase(waiting);
  }
  close_flow(closed.flow, closed.bytes_up, closed.bytes_down, error);
}

void Admission::open_inbound(const Arrival& arrival, InboundFlows::Then then) {
  const policy::Verdict verdict = policy::admit_inbound(image_);
  if (!verdict.allowed) {
    inbound_.refuse(arrival, verdict.reason, rule_of(verdict.rule));
  } else if (ending_) {
    inbound_.refuse(arrival, policy::Reason::shutting_down);
  } else if (const auto quota = inbound_.used_up()) {
    inbound_.refuse(arrival, policy::Reason::quota, {}, hit_of(*quota));
  } else if (is_full()) {
    inbound_.refuse(arrival, policy::Reason::limit, {}, hit_of(policy::Limit::max_flows));
  } else {
    return inbound_.open(arrival, std::move(then));
  }
  then(0);
}

void Admission::close_flow(std::uint64_t flow, std::uint64_t up, std::uint64_t down, int error) {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return;
  const Flow& closing = found->second;
  Event event = flow_event(EventType::flow_close, closing.protocol, closing.entry, closing.dialled, closing.name);
  event.flow = flow;
  event.bytes_up = up;
  event.bytes_down = down;
  event.ms = reactor_.now_ms() - found->second.opened_ms;
  if (error != 0) event.error = errno_name(error);
  if (found->second.cut && error != 0) {
    event.reason = policy::name_of(found->second.cut_by.reason);
    event.rule = rule_of(found->second.cut_by.rule);
  }
  dialer_.cancel(found->second.dial);
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
    limits_.note_used_up(limit, at.dialled.address);
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
