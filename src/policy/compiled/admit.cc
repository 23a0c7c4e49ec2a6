#include "policy/compiled/admit.h"

#include <algorithm>

#include "net/loopback.h"
#include "policy/compiled/judge.h"

namespace weir::policy {

namespace {

constexpr net::Port kHttps = 443;
constexpr net::Port kHttp = 80;

Verdict allowance(const Outcome& outcome) {
  return {.allowed = true, .reason = Reason::none, .rule = outcome.rule, .hold_first_flight = false};
}

constexpr RuleRef kBuiltInFloor = {.layer = Layer::floor, .index = RuleRef::kNoEntry};

// What needs no candidate to be refused.
std::optional<Verdict> refused_for_all(const Image& image, const HostFacts& facts, const Destination& destination,
                                       const Request& request) {
  if ((request.protocol == net::Protocol::icmp) != (request.port == 0)) return refusal(Reason::protocol);
  if (destination.hard()) return refusal(Reason::floor, kBuiltInFloor);
  if (is_own_listener(image, facts, destination, {.address = request.address, .port = request.port})) {
    return refusal(Reason::floor, kBuiltInFloor);
  }
  return std::nullopt;
}

// The refusal that came furthest speaks for all; the first of equals.
Verdict most_telling_refusal(const Survey& all) {
  const Outcome* last = nullptr;
  const auto look = [&last](const Outcome& outcome) {
    if (last == nullptr || outcome.progress > last->progress) last = &outcome;
  };
  for (const Outcome& outcome : all.named) look(outcome);
  if (all.nameless) look(*all.nameless);
  if (all.named.empty() && all.nameless_dropped_for_need) return refusal(Reason::no_name);
  return last == nullptr ? refusal(Reason::no_rule) : refusal(last->reason, last->rule);
}

const Outcome* first_survivor(const Survey& all) {
  const auto named = std::ranges::find_if(all.named, &Outcome::allowed);
  if (named != all.named.end()) return &*named;
  return all.nameless && all.nameless->allowed ? &*all.nameless : nullptr;
}

bool nameless_survives(const Survey& all) {
  return all.nameless && all.nameless->allowed;
}

// Could the name in the first flight change the outcome?
bool name_matters(const Image& image, const Request& request, const Survey& all) {
  if (request.protocol != net::Protocol::tcp) return false;
  if (!nameless_survives(all)) return true;
  return std::ranges::any_of(image.layers(), [&](const LayerView& layer) { return layer.name_deny_at(request.port); });
}

// The stream carries no name that could be a candidate. `without_name` says why that is not enough.
Verdict judge_unnamed_flight(const Survey& all, const FirstFlight& flight, Reason without_name) {
  if (nameless_survives(all)) {
    if (flight.ech && !all.nameless->accepts_ech) return refusal(Reason::ech, all.nameless->rule);
    return allowance(*all.nameless);
  }
  return refusal(without_name);
}

// TLS or HTTP with exactly one valid name: that candidate remains, and the nameless one unless the name is denied. A
// name that does not lead to the address is no candidate, but it can still be denied.
Verdict judge_named_flight(const Image& image, const HostFacts& facts, const Request& request, const Survey& all,
                           const FirstFlight& flight, Reason mismatch) {
  const auto known = std::ranges::find_if(
      request.names, [&](const NameCandidate& candidate) { return *candidate.name == *flight.name; });
  const bool is_known = known != request.names.end();
  const NameCandidate asked{.name = &*flight.name,
                            .aliases = is_known ? known->aliases : std::span<const net::DomainName>()};
  const Outcome named = judge_candidate(image, facts, look_at(image, facts, request.address),
                                        {.protocol = request.protocol, .port = request.port, .candidate = &asked});
  if (named.denied()) return refusal(named.reason, named.rule);
  const bool by_name = is_known && named.allowed;
  if (!by_name && !nameless_survives(all)) return refusal(mismatch);
  const Outcome& survivor = by_name ? named : *all.nameless;
  if (flight.ech && !survivor.accepts_ech) return refusal(Reason::ech, survivor.rule);
  return allowance(survivor);
}

Verdict judge_opaque_flight(const Request& request, const Survey& all) {
  if (!nameless_survives(all)) {
    if (request.port == kHttps) return refusal(Reason::not_tls);
    if (request.port == kHttp) return refusal(Reason::not_http);
  }
  return allowance(*first_survivor(all));
}

Verdict judge_flight(const Image& image, const HostFacts& facts, const Request& request, const Survey& all,
                     const FirstFlight& flight) {
  switch (flight.kind) {
    case FlightKind::malformed:
      return refusal(Reason::malformed);
    case FlightKind::h2c_preface:
      return refusal(Reason::not_http);
    case FlightKind::opaque:
      return judge_opaque_flight(request, all);
    case FlightKind::tls:
      // Port 80 is HTTP's and 443 is TLS's where only a name can allow.
      if (request.port == kHttp && !nameless_survives(all)) return refusal(Reason::not_http);
      if (flight.name) return judge_named_flight(image, facts, request, all, flight, Reason::sni_mismatch);
      return judge_unnamed_flight(all, flight, flight.name_present ? Reason::sni_mismatch : Reason::sni_missing);
    case FlightKind::http:
      if (request.port == kHttps && !nameless_survives(all)) return refusal(Reason::not_tls);
      if (flight.name) return judge_named_flight(image, facts, request, all, flight, Reason::host_mismatch);
      return judge_unnamed_flight(all, flight, flight.name_present ? Reason::host_mismatch : Reason::host_missing);
  }
  return refusal(Reason::malformed);
}

}  // namespace

Verdict admit(const Image& image, const HostFacts& facts, const Request& request) {
#ifdef WEIR_ADMIT_ALL
  return {.allowed = true, .reason = Reason::none, .rule = {}, .hold_first_flight = false};
#endif
  const Destination destination = look_at(image, facts, request.address);
  if (const auto refused = refused_for_all(image, facts, destination, request)) return *refused;
  const Survey all = survey(image, facts, destination, request);
  const Outcome* const survivor = first_survivor(all);
  if (survivor == nullptr) return most_telling_refusal(all);
  if (!is_carried(image, request.protocol, request.address)) return refusal(Reason::upstream_proxy);
  Verdict verdict = allowance(*survivor);
  verdict.hold_first_flight = name_matters(image, request, all);
  return verdict;
}

bool may_resolve(const Image& image) {
  return std::ranges::none_of(image.layers(), [](const LayerView& layer) {
    return layer.mode() == Mode::none || layer.mode() == Mode::inbound;
  });
}

Verdict admit_inbound(const Image& image) {
  for (const LayerView& layer : image.layers()) {
    if (layer.mode() == Mode::none)
      return refusal(Reason::no_rule, {.layer = layer.layer(), .index = RuleRef::kNoEntry});
  }
  return {.allowed = true, .reason = Reason::none, .rule = {}, .hold_first_flight = false};
}

Verdict admit_first_flight(const Image& image, const HostFacts& facts, const Request& request,
                           const FirstFlight& flight) {
#ifdef WEIR_ADMIT_ALL
  return {.allowed = true, .reason = Reason::none, .rule = {}, .hold_first_flight = false};
#endif
  const Verdict before = admit(image, facts, request);
  if (!before.allowed || !before.hold_first_flight) return before;
  const Destination destination = look_at(image, facts, request.address);
  return judge_flight(image, facts, request, survey(image, facts, destination, request), flight);
}

bool is_carried(const Image& image, net::Protocol protocol, const net::IpAddress& address) {
  return image.egress_proxies().empty() || (protocol == net::Protocol::tcp && !net::is_loopback(address));
}

const EgressProxy* egress_for(const Image& image, net::Port port) {
  const auto proxies = image.egress_proxies();
  if (proxies.empty()) return nullptr;
  // The first is the HTTP proxy where there is one.
  const bool web = port == kHttp || port == kHttps;
  return web ? &proxies.front() : &proxies.back();
}

bool passes_port_53(const Image& image, const net::IpAddress& address, net::Protocol protocol) {
  constexpr net::Port kDns = 53;
  return std::ranges::all_of(image.layers(), [&](const LayerView& layer) {
    if (layer.layer() == Layer::floor) return true;
    bool named = false;
    layer.for_address(address, [&](const Posting& posting, const net::Cidr&) {
      named = named || ((posting.flags & format::kPort53) != 0 && layer.holds(posting, protocol, kDns));
    });
    return named;
  });
}

}  // namespace weir::policy
