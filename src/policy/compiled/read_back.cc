// From an image to what it was built from.
#include "policy/compiled/layer_view.h"
#include "policy/compiled/source.h"

namespace weir::policy {

namespace {

// What a key stands for; the rest is in the posting. nullopt for what no target is written as: it is found by nobody,
// and as a target it would be.
std::optional<Target> destination_of(std::string_view key) {
  Target target;
  const char tag = key.empty() ? '\0' : key.front();
  if (tag == format::kTagV4 || tag == format::kTagV6) {
    std::array<std::uint8_t, 16> bytes{};
    if (key.size() != bytes.size() + 2) return std::nullopt;
    std::memcpy(bytes.data(), key.data() + 2, bytes.size());
    const auto base = net::IpAddress::v6(bytes);
    const unsigned length = static_cast<std::uint8_t>(key[1]);
    if (length > (base.is_v4() ? 32u : 128u)) return std::nullopt;
    target.kind = Target::Kind::cidr;
    target.cidr = net::Cidr::of(base, length);
    const auto written = cidr_key(target.cidr);
    if (std::string_view(written.data(), written.size()) != key) return std::nullopt;
  } else if (tag == format::kTagClass) {
    const auto number = static_cast<std::uint8_t>(key.back());
    if (key.size() != 2 || number >= kAddressClassCount) return std::nullopt;
    target.kind = Target::Kind::address_class;
    target.address_class = static_cast<AddressClass>(number);
  } else {
    target.name = key;
  }
  return target;
}

NameScope scope_of(std::uint8_t flags) {
  if ((flags & format::kBelow) == 0) return NameScope::exact;
  return (flags & format::kExact) == 0 ? NameScope::below : NameScope::at_or_below;
}

std::vector<Entry> entries_of(const LayerView& layer, const std::string& place) {
  std::vector<Entry> entries;
  for (std::uint32_t i = 0; i < layer.entry_count(); ++i) {
    entries.push_back({.action = layer.entry_action(i),
                       .step = layer.entry_step(i),
                       .ech = layer.entry_accepts_ech(i) ? Ech::accepted : Ech::refused,
                       .text = std::string(layer.entry_text(i)),
                       .place = place,
                       .targets = {},
                       .listed = {}});
  }
  for (std::uint32_t i = 0; i < layer.lists().size(); ++i)
    entries[layer.lists()[i].entry].listed = layer.lists()[i].names;
  return entries;
}

}  // namespace

std::optional<Target> target_of(const LayerView& layer, std::string_view key, const Posting& posting) {
  std::optional<Target> target = destination_of(key);
  if (!target) return std::nullopt;
  if (target->kind == Target::Kind::name) {
    if ((posting.flags & (format::kExact | format::kBelow)) == 0) return std::nullopt;
    target->scope = scope_of(posting.flags);
    target->breadth = (posting.flags & format::kBroad) != 0 ? Breadth::broad : Breadth::ordinary;
  }
  target->protocols = posting.protocols;
  for (std::uint16_t i = 0; i < posting.range_count; ++i) {
    target->ports.push_back(layer.range(posting, i));
    if (target->ports.back().first > target->ports.back().last) return std::nullopt;
  }
  return target;
}

Result<LayerSource> read_back(const LayerView& layer, const std::string& place) {
  LayerSource source;
  source.layer = layer.layer();
  source.mode = layer.mode();
  source.name_need = layer.name_required() ? NameNeed::required : NameNeed::optional;
  source.dns_types = layer.listed_types();
  source.entries = entries_of(layer, place);
  bool whole = true;
  whole = layer.for_all_keys([&](std::string_view key, const Posting& posting) {
    std::optional<Target> target = target_of(layer, key, posting);
    whole = whole && target;
    if (target) source.entries[posting.entry].targets.push_back(std::move(*target));
  }) && whole;
  std::vector<std::uint64_t> slots;
  layer.for_all_listed([&](std::uint64_t slot) { slots.push_back(slot); });
  source.listed = ListedNames(layer.hash_key());
  whole = source.listed.restore(std::move(slots), layer.lists().size()) && whole;
  if (!whole) return fail("the policy image is damaged (records)");
  return source;
}

Result<ImageSource> read_back(const Image& image, const std::string& place) {
  ImageSource source;
  for (const LayerView& layer : image.layers()) {
    WEIR_TRY(LayerSource each, read_back(layer, place));
    source.layers.push_back(std::move(each));
  }
  source.nat64_prefixes.assign(image.nat64_prefixes().begin(), image.nat64_prefixes().end());
  source.self_addresses.assign(image.self_addresses().begin(), image.self_addresses().end());
  source.lifted.assign(image.lifted().begin(), image.lifted().end());
  source.dns_upstreams.assign(image.dns_upstreams().begin(), image.dns_upstreams().end());
  source.publishes.assign(image.publishes().begin(), image.publishes().end());
  source.egress_proxies.assign(image.egress_proxies().begin(), image.egress_proxies().end());
  source.limits = image.limits();
  source.written_limits = image.written_limits();
  return source;
}

}  // namespace weir::policy
