#include <algorithm>
#include <bit>
#include <map>
#include <string_view>

#include "policy/compiled/format.h"
#include "policy/compiled/hash.h"
#include "policy/compiled/layer_view.h"
#include "policy/compiled/source.h"

namespace weir::policy {

namespace {

template <class Record>
void append(std::vector<std::uint8_t>& bytes, const Record& record) {
  const auto* const start = reinterpret_cast<const std::uint8_t*>(&record);
  bytes.insert(bytes.end(), start, start + sizeof(Record));
}

// Fixed-size arrays go out in one piece; sections start at multiples of 8 for the eye that reads a dump.
template <class Record>
format::Section append_all(std::vector<std::uint8_t>& bytes, const std::vector<Record>& records) {
  bytes.resize((bytes.size() + 7) / 8 * 8);
  const format::Section section{.offset = static_cast<std::uint32_t>(bytes.size()),
                                .count = static_cast<std::uint32_t>(records.size())};
  const auto* const start = reinterpret_cast<const std::uint8_t*>(records.data());
  bytes.insert(bytes.end(), start, start + records.size() * sizeof(Record));
  return section;
}

struct Key {
  std::vector<format::PostingRecord> postings;
  std::uint32_t allowed_below = format::kNone;
};

// One layer on its way to bytes.
class LayerBuilder {
 public:
  LayerBuilder(const LayerSource& source, std::string& text) : source_(source), text_(text) {}

  void collect() {
    for (std::uint32_t i = 0; i < source_.entries.size(); ++i) {
      const Entry& entry = source_.entries[i];
      entries_.push_back({.text_offset = static_cast<std::uint32_t>(text_.size()),
                          .text_size = static_cast<std::uint32_t>(entry.text.size()),
                          .action = static_cast<std::uint8_t>(entry.action),
                          .step = static_cast<std::uint8_t>(entry.step),
                          .ech = static_cast<std::uint8_t>(entry.ech),
                          .unused = 0});
      text_ += entry.text;
      for (const Target& target : entry.targets) add(i, entry, target);
    }
  }

  format::LayerRecord write(std::vector<std::uint8_t>& bytes);

 private:
  void add(std::uint32_t index, const Entry& entry, const Target& target);
  void add_name(std::uint32_t index, const Entry& entry, const Target& target);
  void add_cidr(std::uint32_t index, const Entry& entry, const Target& target);
  void mark_ancestors(std::uint32_t index, const Target& target);
  format::PostingRecord posting(std::uint32_t index, const Target& target, std::uint8_t flags);
  std::uint32_t ranges_of(const std::vector<net::PortRange>& ports);
  void note_denied_ports(const Target& target);
  void merge_denied_ports();

  const LayerSource& source_;
  std::string& text_;
  std::vector<format::EntryRecord> entries_;
  std::map<std::string, Key> keys_;  // ordered: equal sources give equal bytes
  std::vector<format::RangeRecord> ranges_;
  std::map<std::vector<net::PortRange>, std::uint32_t> known_ranges_;
  std::vector<format::RangeRecord> denied_ports_;
  std::array<std::uint64_t, 3> lengths4_{};
  std::array<std::uint64_t, 3> lengths6_{};
  bool names_in_deny_or_rules_ = false;
  std::uint32_t address_allow_ = format::kNone;
};

std::uint32_t LayerBuilder::ranges_of(const std::vector<net::PortRange>& ports) {
  const auto [found, added] = known_ranges_.try_emplace(ports, static_cast<std::uint32_t>(ranges_.size()));
  if (added) {
    for (const net::PortRange& range : ports) ranges_.push_back({range.first, range.last});
  }
  return found->second;
}

format::PostingRecord LayerBuilder::posting(std::uint32_t index, const Target& target, std::uint8_t flags) {
  return {.entry = index,
          .first_range = ranges_of(target.ports),
          .range_count = static_cast<std::uint16_t>(target.ports.size()),
          .protocols = target.protocols.bits(),
          .flags = flags};
}

void LayerBuilder::note_denied_ports(const Target& target) {
  if (!target.protocols.has(net::Protocol::tcp)) return;
  if (target.ports.empty()) denied_ports_.push_back({0, 65535});
  for (const net::PortRange& range : target.ports) denied_ports_.push_back({range.first, range.last});
}

void LayerBuilder::add(std::uint32_t index, const Entry& entry, const Target& target) {
  const bool address = target.kind != Target::Kind::name;
  if (address && entry.action == Action::allow) address_allow_ = std::min(address_allow_, index);
  switch (target.kind) {
    case Target::Kind::name:
      return add_name(index, entry, target);
    case Target::Kind::cidr:
      return add_cidr(index, entry, target);
    case Target::Kind::address_class: {
      const std::uint8_t flags = target.address_class == AddressClass::any ? 0 : format::kOpens;
      keys_[{format::kTagClass, static_cast<char>(target.address_class)}].postings.push_back(
          posting(index, target, flags));
      return;
    }
  }
}

void LayerBuilder::add_name(std::uint32_t index, const Entry& entry, const Target& target) {
  std::uint8_t flags = target.breadth == Breadth::broad ? format::kBroad : 0;
  if (target.scope != NameScope::below) flags |= format::kExact;
  if (target.scope != NameScope::exact) flags |= format::kBelow;
  keys_[target.name].postings.push_back(posting(index, target, flags));
  if (entry.action == Action::deny) note_denied_ports(target);
  if (entry.action == Action::allow) mark_ancestors(index, target);
  if (entry.step != Step::allow) names_in_deny_or_rules_ = true;
}

// Names above an allowed one exist for the guest (NODATA, not NXDOMAIN). A `*.x` also makes x itself such a name.
void LayerBuilder::mark_ancestors(std::uint32_t index, const Target& target) {
  const auto mark = [&](const std::string& name) {
    Key& key = keys_[name];
    key.allowed_below = std::min(key.allowed_below, index);
  };
  if (target.scope != NameScope::exact) mark(target.name);
  std::string_view name = target.name;
  for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.')) {
    name.remove_prefix(dot + 1);
    mark(std::string(name));
  }
}

void LayerBuilder::add_cidr(std::uint32_t index, const Entry& entry, const Target& target) {
  const net::Cidr& cidr = target.cidr;
  std::uint8_t flags = 0;
  if (cidr.is_single() || soft_range_around(cidr)) flags |= format::kOpens;
  const bool port53 = std::ranges::find(target.ports, net::PortRange{53, 53}) != target.ports.end();
  if (cidr.is_single() && port53 && entry.action == Action::allow) flags |= format::kPort53;
  const auto key = cidr_key(cidr);
  keys_[std::string(key.data(), key.size())].postings.push_back(posting(index, target, flags));
  auto& lengths = cidr.is_v4() ? lengths4_ : lengths6_;
  lengths[cidr.length() / 64] |= std::uint64_t{1} << (cidr.length() % 64);
}

void LayerBuilder::merge_denied_ports() {
  std::ranges::sort(denied_ports_, {}, &format::RangeRecord::first);
  std::vector<format::RangeRecord> merged;
  for (const format::RangeRecord& range : denied_ports_) {
    if (!merged.empty() && range.first <= merged.back().last) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  denied_ports_ = std::move(merged);
}

format::LayerRecord LayerBuilder::write(std::vector<std::uint8_t>& bytes) {
  merge_denied_ports();
  std::vector<format::KeyRecord> keys;
  std::vector<format::PostingRecord> postings;
  // At most half full: a probe for an absent name ends after a step or two.
  std::vector<std::uint32_t> slots(keys_.empty() ? 0 : std::bit_ceil(keys_.size() * 2), 0);
  for (const auto& [text, key] : keys_) {
    auto at = hash_bytes(as_bytes(text)) & (slots.size() - 1);
    while (slots[at] != 0) at = (at + 1) & (slots.size() - 1);
    slots[at] = static_cast<std::uint32_t>(keys.size() + 1);
    keys.push_back({.text_offset = static_cast<std::uint32_t>(text_.size()),
                    .text_size = static_cast<std::uint32_t>(text.size()),
                    .first_posting = static_cast<std::uint32_t>(postings.size()),
                    .posting_count = static_cast<std::uint32_t>(key.postings.size()),
                    .allowed_below = key.allowed_below});
    text_ += text;
    postings.insert(postings.end(), key.postings.begin(), key.postings.end());
  }
  return {.layer = static_cast<std::uint8_t>(source_.layer),
          .mode = static_cast<std::uint8_t>(source_.mode),
          .name_required = source_.name_need == NameNeed::required ? std::uint8_t{1} : std::uint8_t{0},
          .names_in_deny_or_rules = names_in_deny_or_rules_ ? std::uint8_t{1} : std::uint8_t{0},
          .entries = append_all(bytes, entries_),
          .keys = append_all(bytes, keys),
          .slots = append_all(bytes, slots),
          .postings = append_all(bytes, postings),
          .ranges = append_all(bytes, ranges_),
          .name_deny_ports = append_all(bytes, denied_ports_),
          .types = append_all(bytes, source_.dns_types),
          .address_allow = address_allow_,
          .lengths4 = lengths4_,
          .lengths6 = lengths6_};
}

std::vector<format::AddressRecord> address_records(const std::vector<net::IpAddress>& addresses) {
  std::vector<format::AddressRecord> records;
  for (const net::IpAddress& address : addresses) records.push_back({address.bytes()});
  return records;
}

void append_lists(const ImageSource& source, std::vector<std::uint8_t>& bytes, format::Header& header) {
  std::vector<format::CidrRecord> prefixes;
  for (const net::Cidr& cidr : source.nat64_prefixes) prefixes.push_back({cidr.base().bytes(), cidr.length()});
  std::vector<format::UpstreamRecord> upstreams;
  for (const DnsUpstream& each : source.dns_upstreams) {
    upstreams.push_back({.address = each.endpoint.address.bytes(),
                         .port = each.endpoint.port,
                         .transport = static_cast<std::uint8_t>(each.transport),
                         .unused = 0});
  }
  std::vector<format::PublishRecord> publishes;
  for (const Publish& each : source.publishes) {
    publishes.push_back({.bind = each.bind.bytes(),
                         .host = each.host,
                         .guest = each.guest,
                         .protocol = static_cast<std::uint8_t>(each.protocol),
                         .unused = {}});
  }
  header.nat64_prefixes = append_all(bytes, prefixes);
  header.self_addresses = append_all(bytes, address_records(source.self_addresses));
  header.lifted = append_all(bytes, address_records(source.lifted));
  header.upstreams = append_all(bytes, upstreams);
  header.publishes = append_all(bytes, publishes);
}

void seal(std::vector<std::uint8_t>& bytes, format::Header header) {
  header.total_size = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::uint64_t hash = hash_bytes(Bytes(bytes).subspan(format::kHashedFrom));
  for (std::size_t i = header.hash.size(); i-- > 0; hash >>= 4) header.hash[i] = "0123456789abcdef"[hash & 0xf];
  std::memcpy(bytes.data(), &header, sizeof(header));
}

}  // namespace

std::vector<std::uint8_t> build_image(const ImageSource& source) {
  std::vector<std::uint8_t> bytes(sizeof(format::Header));
  std::string text;
  format::Header header{};
  header.magic = format::kMagic;
  header.limits = source.limits.values;
  std::vector<format::LayerRecord> layers;
  for (const LayerSource& layer : source.layers) {
    LayerBuilder builder(layer, text);
    builder.collect();
    layers.push_back(builder.write(bytes));
  }
  header.layers = append_all(bytes, layers);
  append_lists(source, bytes, header);
  header.text = append_all(bytes, std::vector<char>(text.begin(), text.end()));
  seal(bytes, header);
  return bytes;
}

}  // namespace weir::policy
