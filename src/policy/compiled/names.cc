// judge_name(): may this name be asked upstream at all?
#include <algorithm>
#include <array>

#include "policy/compiled/judge.h"

namespace weir::policy {

namespace {

using format::kNone;

// DNS QTYPEs (RFC 1035 3.2.2, 3596; RFC 6895 3.1 for the meta types).
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeAaaa = 28;
constexpr std::uint16_t kTypeOpt = 41;
constexpr std::uint16_t kFirstMeta = 128;
constexpr std::uint16_t kLastMeta = 255;

bool is_meta(std::uint16_t type) {
  return type == 0 || type == kTypeOpt || (type >= kFirstMeta && type <= kLastMeta);
}

// Zones that mean something only on this machine or its network (RFC 6761, 6762, 8375, 9462; reverse zones of private
// ranges, RFC 6303).
constexpr auto kLocalZones = std::to_array<std::string_view>({
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "resolver.arpa",
    "10.in-addr.arpa",
    "127.in-addr.arpa",
    "0.in-addr.arpa",
    "254.169.in-addr.arpa",
    "168.192.in-addr.arpa",
    "16.172.in-addr.arpa",
    "17.172.in-addr.arpa",
    "18.172.in-addr.arpa",
    "19.172.in-addr.arpa",
    "20.172.in-addr.arpa",
    "21.172.in-addr.arpa",
    "22.172.in-addr.arpa",
    "23.172.in-addr.arpa",
    "24.172.in-addr.arpa",
    "25.172.in-addr.arpa",
    "26.172.in-addr.arpa",
    "27.172.in-addr.arpa",
    "28.172.in-addr.arpa",
    "29.172.in-addr.arpa",
    "30.172.in-addr.arpa",
    "31.172.in-addr.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
});

// 64-127.100.in-addr.arpa: the reverse zones of the shared address space (RFC 6598, RFC 7793).
bool is_shared_space_reverse(const net::DomainName& name) {
  constexpr std::string_view kParent = "100.in-addr.arpa";
  if (!name.is_below(kParent)) return false;
  std::string_view octet = std::string_view(name.text()).substr(0, name.text().size() - kParent.size() - 1);
  octet = octet.substr(octet.find_last_of('.') + 1);  // npos + 1 is 0
  unsigned value = 0;
  for (const char c : octet) {
    if (c < '0' || c > '9' || value > 255) return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return !octet.empty() && value >= 64 && value <= 127;
}

// Not asked upstream unless an entry names it.
bool is_local(const net::DomainName& name) {
  if (name.is_single_label() || is_shared_space_reverse(name)) return true;
  return std::ranges::any_of(kLocalZones, [&](std::string_view zone) { return name.is_at_or_below(zone); });
}

// A deny that leaves nothing of a name: every protocol, every port.
bool is_total(const Posting& posting) {
  return posting.action == Action::deny && posting.protocols.is_all() && posting.range_count == 0;
}

// The first allow entry that covers the whole public internet, or a whole family of addresses: whoever allows that
// allows names to be asked. In the operator's floor any address will do: which names are asked is the session's
// business.
std::uint32_t first_public_allow(const LayerView& layer) {
  if (layer.layer() == Layer::floor) return layer.address_allow();
  std::uint32_t first = kNone;
  const auto note = [&](const Posting& posting) {
    if (posting.action == Action::allow) first = std::min(first, posting.entry);
  };
  layer.for_class(AddressClass::publicly, note);
  layer.for_class(AddressClass::any, note);
  const auto note_family = [&](const Posting& posting, const net::Cidr& cidr) {
    if (cidr.length() == 0) note(posting);
  };
  layer.for_address(net::IpAddress::v4({0, 0, 0, 0}), note_family);
  layer.for_address(net::IpAddress(), note_family);
  return first;
}

bool default_asks(Mode mode) {
  return mode == Mode::publicly || mode == Mode::semitrusted || mode == Mode::open;
}

struct LayerName {
  bool possible = false;  // some entry or the default could allow it
  bool exists = false;    // ... it or something below it
  Reason reason = Reason::no_rule;
  std::uint32_t entry = kNone;  // the deciding one
};

LayerName judge_in_layer(const LayerView& layer, const net::DomainName& name) {
  // A local name must be named on purpose, but in `open` and by the operator, who bounds what sessions name.
  const bool by_purpose = is_local(name) && layer.mode() != Mode::open && layer.layer() != Layer::floor;
  std::uint32_t deny = kNone;
  std::uint32_t allow = kNone;
  layer.for_name(name.text(), [&](const Posting& posting) {
    if (is_total(posting)) deny = std::min(deny, posting.entry);
    if (posting.action != Action::allow || (by_purpose && (posting.flags & format::kBroad) != 0)) return;
    allow = std::min(allow, posting.entry);
  });
  std::uint32_t deny_below = kNone;
  std::uint32_t allow_below = layer.allowed_below(name.text());
  layer.for_all_below(name.text(), [&](const Posting& posting) {
    if (is_total(posting)) deny_below = std::min(deny_below, posting.entry);
    if (posting.action != Action::allow || (by_purpose && (posting.flags & format::kBroad) != 0)) return;
    allow_below = std::min(allow_below, posting.entry);
  });
  const std::uint32_t whole = by_purpose ? kNone : first_public_allow(layer);
  const bool by_default = !by_purpose && default_asks(layer.mode());
  allow = std::min(allow, whole);
  allow_below = std::min(allow_below, whole);
  LayerName result;
  result.possible = allow < deny || (by_default && deny == kNone);
  result.exists = result.possible || allow_below < deny_below || (by_default && deny_below == kNone);
  result.reason = result.possible ? Reason::none : (deny != kNone ? Reason::denied_by_rule : Reason::no_rule);
  result.entry = result.possible ? allow : deny;
  return result;
}

// The operator's floor knows no record types.
bool type_allowed(const LayerView& layer, std::uint16_t type) {
  if (layer.layer() == Layer::floor) return true;
  if (type == kTypeA || type == kTypeAaaa) return true;
  if (layer.mode() == Mode::publicly || layer.mode() == Mode::open) return true;
  return layer.lists_type(type);
}

NameVerdict judge_policy(const Image& image, const net::DomainName& name) {
  NameVerdict verdict{.answer = NameAnswer::ask, .reason = Reason::none, .rule = {}};
  bool exists = true;
  for (const LayerView& layer : image.layers()) {
    const LayerName in_layer = judge_in_layer(layer, name);
    exists = exists && in_layer.exists;
    if (verdict.reason != Reason::none) continue;
    verdict.reason = in_layer.reason;
    verdict.rule = {.layer = layer.layer(), .index = in_layer.entry};
  }
  if (verdict.reason != Reason::none) verdict.answer = exists ? NameAnswer::nodata : NameAnswer::nxdomain;
  return verdict;
}

NameVerdict own(NameAnswer answer) {
  return {.answer = answer, .reason = Reason::none, .rule = {}};
}

// Names that weir answers itself; nullopt for all others.
std::optional<NameVerdict> judge_own_name(const Image& image, const net::DomainName& name) {
  if (name.is_at_or_below("localhost")) return own(NameAnswer::localhost);
  if (!name.is_at_or_below(kOwnDomain)) return std::nullopt;
  if (name.text() == kGatewayName) return own(NameAnswer::gateway);
  if (name.text() == kOwnDomain)
    return NameVerdict{.answer = NameAnswer::nodata, .reason = Reason::no_rule, .rule = {}};
  if (name.text() != kHostService) return NameVerdict{};
  NameVerdict verdict = judge_policy(image, name);
  verdict.answer = verdict.reason == Reason::none ? NameAnswer::host_service : NameAnswer::nxdomain;
  return verdict;
}

}  // namespace

NameChoice chosen_by(const Image& image, const net::DomainName& name) {
  bool below_wildcard = false;
  for (const LayerView& layer : image.layers()) {
    if (layer.layer() == Layer::floor) continue;
    bool written = false;
    layer.for_exact_name(name.text(), [&](const Posting& posting) { written |= posting.action == Action::allow; });
    if (written) return NameChoice::policy;
    below_wildcard |= !default_asks(layer.mode()) && first_public_allow(layer) == kNone;
  }
  return below_wildcard ? NameChoice::guest : NameChoice::policy;
}

NameVerdict judge_name(const Image& image, const net::DomainName& name, std::uint16_t type) {
#ifdef WEIR_ADMIT_ALL
  return {.answer = NameAnswer::ask, .reason = Reason::none, .rule = {}};
#endif
  if (const auto answer = judge_own_name(image, name)) return *answer;
  NameVerdict verdict = judge_policy(image, name);
  if (verdict.answer != NameAnswer::ask) return verdict;
  const auto refusing =
      std::ranges::find_if(image.layers(), [&](const LayerView& layer) { return !type_allowed(layer, type); });
  if (is_meta(type)) return {.answer = NameAnswer::nodata, .reason = Reason::protocol, .rule = {}};
  if (refusing != image.layers().end()) {
    return {.answer = NameAnswer::nodata, .reason = Reason::no_rule, .rule = {.layer = refusing->layer()}};
  }
  return verdict;
}

}  // namespace weir::policy
