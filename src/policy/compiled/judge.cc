#include "policy/compiled/judge.h"

#include <algorithm>

#include "policy/compiled/stand_in.h"

namespace weir::policy {

namespace {

using format::kNone;

Surroundings surroundings(const Image& image, const HostFacts& facts) {
  return {.facts = facts,
          .self_addresses = image.self_addresses(),
          .lifted = image.lifted(),
          .nat64_prefixes = image.nat64_prefixes()};
}

// The first entries of a layer that match a candidate, by kind.
struct FirstMatches {
  std::uint32_t deny = kNone;
  std::uint32_t allow = kNone;
  bool allow_by_name = false;
  bool allow_by_class = false;
  std::uint32_t host_service_allow = kNone;  // by that name, not by a wildcard
  // Of address targets alone: is the address opened on its own?
  std::uint32_t address_deny = kNone;
  std::uint32_t opening = kNone;

  bool opened() const { return opening < address_deny; }
};

// Does this address target open the soft floor for an address it contains? The host's own addresses (beyond loopback)
// only by themselves or as @host: a CIDR of the local network must not hand out the services of this machine.
bool opens(const Posting& posting, const net::Cidr& cidr, const Place& place, const HostFacts& facts) {
  if (cidr.is_single()) return true;
  const ClassSet classes = place.standing.classes;
  if (classes.has(AddressClass::host) && !classes.has(AddressClass::loopback)) return false;
  if ((posting.flags & format::kOpens) != 0) return true;
  return std::ranges::any_of(facts.lan, [&](const net::Cidr& prefix) { return prefix.contains(cidr); });
}

bool class_opens(AddressClass address_class, const Place& place) {
  const ClassSet classes = place.standing.classes;
  if (classes.has(AddressClass::host) && !classes.has(AddressClass::loopback)) {
    return address_class == AddressClass::host;
  }
  return address_class != AddressClass::any && address_class != AddressClass::publicly;
}

class Matcher {
 public:
  Matcher(const LayerView& layer, const HostFacts& facts, const Place& place, const Question& question)
      : layer_(layer), facts_(facts), place_(place), question_(question) {}

  FirstMatches run() {
    match_address();
    match_classes();
    if (question_.candidate != nullptr) match_names(*question_.candidate);
    return matches_;
  }

 private:
  enum class By : std::uint8_t { name, cidr, address_class };

  void note(const Posting& posting, By by, bool opening) {
    if (posting.action == Action::deny) {
      matches_.deny = std::min(matches_.deny, posting.entry);
      if (by != By::name) matches_.address_deny = std::min(matches_.address_deny, posting.entry);
      return;
    }
    if (posting.entry < matches_.allow) {
      matches_.allow = posting.entry;
      matches_.allow_by_name = by == By::name;
      matches_.allow_by_class = by == By::address_class;
    }
    if (opening) matches_.opening = std::min(matches_.opening, posting.entry);
  }

  bool holds(const Posting& posting) const { return layer_.holds(posting, question_.protocol, question_.port); }

  void match_address() {
    for_place(layer_, place_, [this](const Posting& posting, const net::Cidr& cidr) {
      if (holds(posting)) note(posting, By::cidr, opens(posting, cidr, place_, facts_));
    });
  }

  void match_classes() {
    for (std::uint8_t i = 0; i < kAddressClassCount; ++i) {
      const auto each = static_cast<AddressClass>(i);
      if (each != AddressClass::any && !place_.standing.classes.has(each)) continue;
      layer_.for_class(each, [this, each](const Posting& posting) {
        if (holds(posting)) note(posting, By::address_class, class_opens(each, place_));
      });
    }
  }

  void match_names(const NameCandidate& candidate) {
    layer_.for_name(candidate.name->text(), [this](const Posting& posting) {
      if (holds(posting)) note(posting, By::name, false);
    });
    if (candidate.name->text() == kHostService) match_host_service();
    for (const net::DomainName& alias : candidate.aliases) {
      layer_.for_name(alias.text(), [this](const Posting& posting) {
        if (posting.action == Action::deny && holds(posting)) note(posting, By::name, false);
      });
    }
  }

  void match_host_service() {
    layer_.for_exact_name(kHostService, [this](const Posting& posting) {
      if (posting.action != Action::allow || !holds(posting)) return;
      matches_.host_service_allow = std::min(matches_.host_service_allow, posting.entry);
    });
  }

  const LayerView& layer_;
  const HostFacts& facts_;
  const Place& place_;
  const Question& question_;
  FirstMatches matches_;
};

bool default_allows(Mode mode, const Place& place, const Question& question) {
  switch (mode) {
    case Mode::open:
      return true;
    case Mode::publicly:
      return place.standing.is_public();
    case Mode::semitrusted:
      return place.standing.is_public() && question.protocol == net::Protocol::tcp &&
             (question.port == 80 || question.port == 443);
    case Mode::none:
    case Mode::inbound:
    case Mode::allowlist:
    case Mode::host:
      return false;
  }
  return false;
}

// In a mode that admits a class of addresses, an address outside that class met the floor; elsewhere nobody named it.
Reason default_reason(Mode mode, const Place& place) {
  const bool by_class = mode == Mode::publicly || mode == Mode::semitrusted;
  return by_class && !place.standing.is_public() ? Reason::floor : Reason::no_rule;
}

// Order of refusals within a layer.
constexpr unsigned kProgressDefault = 4;
constexpr unsigned kProgressFloor = 5;
constexpr unsigned kProgressPerLayer = 8;

// host.weir.internal is the one name that opens an address by itself: written out, and for the loopback of the host
// only.
bool is_host_service(const Question& question, const Place& place) {
  return question.candidate != nullptr && question.candidate->name->text() == kHostService &&
         place.standing.classes.has(AddressClass::loopback);
}

Outcome refused(const LayerView& layer, Reason reason, std::uint32_t entry, unsigned step) {
  Outcome outcome;
  outcome.reason = reason;
  outcome.rule = {.layer = layer.layer(), .index = entry};
  outcome.progress = static_cast<unsigned>(layer.layer()) * kProgressPerLayer + step;
  return outcome;
}

Outcome judge_layer(const LayerView& layer, const HostFacts& facts, const Place& place, const Question& question) {
  const FirstMatches matches = Matcher(layer, facts, place, question).run();
  // Equal only where an image is damaged (kBrokenPosting).
  if (matches.deny != kNone && matches.deny <= matches.allow) {
    return refused(layer, Reason::denied_by_rule, matches.deny, static_cast<unsigned>(layer.entry_step(matches.deny)));
  }
  const bool matched = matches.allow != kNone;
  if (!matched && !default_allows(layer.mode(), place, question)) {
    return refused(layer, default_reason(layer.mode(), place), RuleRef::kNoEntry, kProgressDefault);
  }
  const bool soft = !place.standing.is_public() && layer.mode() != Mode::open;
  const bool by_alias = matches.host_service_allow < matches.deny && is_host_service(question, place);
  if (soft && !matches.opened() && !by_alias) {
    const Reason reason = matches.allow_by_name ? Reason::rebind : Reason::floor;
    return refused(layer, reason, matched ? matches.allow : RuleRef::kNoEntry, kProgressFloor);
  }
  Outcome outcome;
  outcome.allowed = true;
  outcome.reason = Reason::none;
  outcome.rule = {.layer = layer.layer(), .index = matched ? matches.allow : RuleRef::kNoEntry};
  outcome.by_default_or_class = !matched || matches.allow_by_class;
  // A layer that nobody's name matters to does not mind a hidden one.
  outcome.accepts_ech = matched && layer.entry_accepts_ech(matches.allow);
  if (!matches.allow_by_name && !layer.names_in_deny_or_rules()) outcome.accepts_ech = true;
  return outcome;
}

Outcome judge_place(const Image& image, const HostFacts& facts, const Place& place, const Question& question) {
  Outcome result;
  result.allowed = true;
  result.reason = Reason::none;
  for (const LayerView& layer : image.layers()) {
    const Outcome outcome = judge_layer(layer, facts, place, question);
    if (!outcome.allowed) return outcome;
    const bool accepts_ech = result.accepts_ech && outcome.accepts_ech;
    // The floor's default says nothing about how a destination was named; session and run do.
    const bool by_class = layer.layer() != Layer::floor && outcome.by_default_or_class;
    const bool by_class_before = result.by_default_or_class;
    result = outcome;
    result.accepts_ech = accepts_ech;
    result.by_default_or_class = by_class || by_class_before;
  }
  return result;
}

constexpr net::Port kHttps = 443;

// QUIC hides the name: where names are denied, UDP 443 passes only to destinations that somebody named.
void apply_quic_rule(const Image& image, const Question& question, Outcome& outcome) {
  if (question.protocol != net::Protocol::udp || question.port != kHttps) return;
  if (!outcome.allowed || !outcome.by_default_or_class) return;
  if (!std::ranges::any_of(image.layers(), &LayerView::names_in_deny_or_rules)) return;
  outcome.allowed = false;
  outcome.reason = Reason::protocol;
  outcome.progress = UINT32_MAX;  // it passed everything else
}

}  // namespace

Destination look_at(const Image& image, const HostFacts& facts, const net::IpAddress& address) {
  if (!image.egress_proxies().empty() && is_stand_in(address))
    return {.outer = Place::of_unresolved_name(), .inner = {}};
  const Surroundings around = surroundings(image, facts);
  Destination destination{.outer = {.address = address, .standing = standing_of(address, around)}, .inner = {}};
  for (const net::Cidr& prefix : image.nat64_prefixes()) {
    if (const auto inner = nat64_inner(prefix, address)) {
      destination.inner = Place{.address = *inner, .standing = standing_of(*inner, around)};
      break;
    }
  }
  return destination;
}

bool is_own_listener(const Image& image, const HostFacts& facts, const Destination& destination,
                     const net::Endpoint& endpoint) {
  const auto lifted = image.lifted();
  if (std::ranges::find(lifted, endpoint.address) != lifted.end()) return false;
  // A listener bound to every address is at each address of the host.
  const ClassSet classes = destination.outer.standing.classes;
  const bool local = classes.has(AddressClass::host) || classes.has(AddressClass::loopback);
  constexpr net::IpAddress kAny4 = net::IpAddress::v4({0, 0, 0, 0});
  constexpr net::IpAddress kAny6;
  return std::ranges::any_of(facts.own_listeners, [&](const net::Endpoint& own) {
    if (own.port != endpoint.port) return false;
    return own.address == endpoint.address || (local && (own.address == kAny4 || own.address == kAny6));
  });
}

Outcome judge_candidate(const Image& image, const HostFacts& facts, const Destination& destination,
                        const Question& question) {
  if (question.candidate != nullptr && is_own_name(question.candidate->name->text()) &&
      !is_host_service(question, destination.outer)) {
    Outcome nowhere;  // weir's own names lead nowhere else, whoever says so
    nowhere.progress = 1;
    return nowhere;
  }
  Outcome outcome = judge_place(image, facts, destination.outer, question);
  if (outcome.allowed && destination.inner) {
    const Outcome inner = judge_place(image, facts, *destination.inner, question);
    if (!inner.allowed) return inner;
    outcome.accepts_ech = outcome.accepts_ech && inner.accepts_ech;
    outcome.by_default_or_class = outcome.by_default_or_class || inner.by_default_or_class;
  }
  apply_quic_rule(image, question, outcome);
  return outcome;
}

Survey survey(const Image& image, const HostFacts& facts, const Destination& destination, const Request& request) {
  Question question{.protocol = request.protocol, .port = request.port, .candidate = nullptr};
  Survey result;
  for (const NameCandidate& candidate : request.names) {
    question.candidate = &candidate;
    result.named.push_back(judge_candidate(image, facts, destination, question));
  }
  const bool all_denied = !result.named.empty() && std::ranges::all_of(result.named, &Outcome::denied);
  if (!request.nameless_candidate || all_denied) return result;
  question.candidate = nullptr;
  const Outcome nameless = judge_candidate(image, facts, destination, question);
  if (std::ranges::any_of(image.layers(), &LayerView::name_required)) {
    result.nameless_dropped_for_need = nameless.allowed;
  } else {
    result.nameless = nameless;
  }
  return result;
}

}  // namespace weir::policy
