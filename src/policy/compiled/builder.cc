#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include "policy/compiled/digest.h"
#include "policy/compiled/format.h"
#include "policy/compiled/hash.h"
#include "policy/compiled/layer_view.h"
#include "policy/compiled/slot_table.h"
#include "policy/compiled/source.h"

namespace weir::policy {

namespace {

// The end of an image that begins `start` bytes further up.
class Sink {
 public:
  explicit Sink(std::size_t start = 0) : start_(start) {}

  std::vector<std::uint8_t>& bytes() { return bytes_; }
  std::uint32_t end() const { return static_cast<std::uint32_t>(start_ + bytes_.size()); }
  // Sections start at multiples of 8: slots are read whole.
  void align() { bytes_.resize(bytes_.size() + (8 - end() % 8) % 8); }

  template <class Record>
  format::Section append_all(const std::vector<Record>& records) {
    align();
    const format::Section section{.offset = end(), .count = static_cast<std::uint32_t>(records.size())};
    const auto* const first = reinterpret_cast<const std::uint8_t*>(records.data());
    bytes_.insert(bytes_.end(), first, first + records.size() * sizeof(Record));
    // Offsets are 32 bits wide; the bounds of policy files and lists keep an image far below that.
    WEIR_ASSERT(start_ + bytes_.size() <= UINT32_MAX);
    return section;
  }
  template <class Table>
  format::SlotSection append_table(const Table& laid) {
    return {.slots = append_all(laid.slots), .homes = laid.homes};
  }

 private:
  std::size_t start_;
  std::vector<std::uint8_t> bytes_;
};

// One use of a key, before keys are put together.
struct Use {
  std::uint64_t hash = 0;
  std::uint32_t text_offset = 0;  // into the layer's text
  std::uint32_t text_size = 0;
  std::uint32_t sequence = 0;  // uses of one key stay in the order of the policy
  std::uint32_t allowed_below = format::kNone;
  std::optional<format::PostingRecord> posting;
};

// The targets of one entry are a set: in whatever order they come, the bytes are the same. That is what makes
// read_back() an exact inverse, which knows them in the order of their hashes.
std::vector<const Target*> in_canonical_order(const std::vector<Target>& targets) {
  std::vector<const Target*> ordered;
  ordered.reserve(targets.size());
  for (const Target& each : targets) ordered.push_back(&each);
  const auto rank = [](const Target* each) {
    return std::tuple(each->kind, std::string_view(each->name), each->scope, each->breadth, each->cidr.base(),
                      each->cidr.length(), each->address_class, each->protocols.bits());
  };
  std::ranges::sort(ordered, [&rank](const Target* a, const Target* b) {
    const auto left = rank(a);
    const auto right = rank(b);
    return left != right ? left < right : a->ports < b->ports;
  });
  return ordered;
}

// One layer on its way to bytes.
class LayerBuilder {
 public:
  explicit LayerBuilder(const LayerSource& source) : source_(source), key_(source.listed.key()) {}

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
      if (entry.listed) add_list(i, *entry.listed);
      add_targets(i, entry);
    }
  }

  // An error where chosen names meet in one place of a table.
  Result<format::LayerRecord> write(Sink& sink);

 private:
  void add_targets(std::uint32_t index, const Entry& entry) {
    if (entry.targets.size() == 1) return add(index, entry, entry.targets.front());
    for (const Target* const target : in_canonical_order(entry.targets)) add(index, entry, *target);
  }
  void add(std::uint32_t index, const Entry& entry, const Target& target);
  void add_name(std::uint32_t index, const Entry& entry, const Target& target);
  void add_cidr(std::uint32_t index, const Entry& entry, const Target& target);
  void add_list(std::uint32_t index, std::uint32_t names);
  std::uint32_t place_name(const Entry& entry, const std::string& name);
  void use(std::uint32_t offset, std::size_t size, std::optional<format::PostingRecord> posting,
           std::uint32_t allowed_below = format::kNone);
  void use_new(std::string_view key, const format::PostingRecord& posting);
  std::string_view text_of(const Use& use) const {
    return std::string_view(text_).substr(use.text_offset, use.text_size);
  }
  void mark_ancestors(std::uint32_t index, const Target& target, std::uint32_t offset);
  bool same_key(const Use& a, const Use& b) const { return a.hash == b.hash && text_of(a) == text_of(b); }
  void order_uses();
  std::optional<KeySlots::Laid> lay_out_keys() const;
  Result<KeySlots::Laid> choose_key();
  void write_keys(Sink& sink, format::LayerRecord& record) const;
  format::PostingRecord posting(std::uint32_t index, const Target& target, std::uint8_t flags);
  std::uint32_t ranges_of(const std::vector<net::PortRange>& ports);
  void note_denied_ports(const Target& target);
  void merge_denied_ports();

  const LayerSource& source_;
  std::uint64_t key_;  // of all hashes
  std::string text_;
  std::vector<format::EntryRecord> entries_;
  std::vector<Use> uses_;
  std::vector<format::ListRecord> lists_;
  std::vector<format::RangeRecord> ranges_;
  std::map<std::vector<net::PortRange>, std::uint32_t> known_ranges_;
  std::vector<format::RangeRecord> denied_ports_;
  std::array<std::uint64_t, 3> lengths4_{};
  std::array<std::uint64_t, 3> lengths6_{};
  std::uint32_t classes_ = 0;
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
      classes_ |= 1u << static_cast<unsigned>(target.address_class);
      const std::array<char, 2> key = {format::kTagClass, static_cast<char>(target.address_class)};
      return use_new(std::string_view(key.data(), key.size()), posting(index, target, flags));
    }
  }
}

void LayerBuilder::use(std::uint32_t offset, std::size_t size, std::optional<format::PostingRecord> posting,
                       std::uint32_t allowed_below) {
  const Use use{.hash = 0,
                .text_offset = offset,
                .text_size = static_cast<std::uint32_t>(size),
                .sequence = static_cast<std::uint32_t>(uses_.size()),
                .allowed_below = allowed_below,
                .posting = posting};
  uses_.push_back(use);
}

void LayerBuilder::use_new(std::string_view key, const format::PostingRecord& posting) {
  const auto offset = static_cast<std::uint32_t>(text_.size());
  text_ += key;
  use(offset, key.size(), posting);
}

// What the author wrote mostly contains the name, and the name its ancestors: the text is stored once for all.
std::uint32_t LayerBuilder::place_name(const Entry& entry, const std::string& name) {
  if (const std::size_t at = entry.text.find(name); at != std::string::npos) {
    return entries_.back().text_offset + static_cast<std::uint32_t>(at);
  }
  const auto offset = static_cast<std::uint32_t>(text_.size());
  text_ += name;
  return offset;
}

void LayerBuilder::add_name(std::uint32_t index, const Entry& entry, const Target& target) {
  std::uint8_t flags = target.breadth == Breadth::broad ? format::kBroad : 0;
  if (target.scope != NameScope::below) flags |= format::kExact;
  if (target.scope != NameScope::exact) flags |= format::kBelow;
  const std::uint32_t offset = place_name(entry, target.name);
  use(offset, target.name.size(), posting(index, target, flags));
  if (entry.action == Action::deny) note_denied_ports(target);
  if (entry.action == Action::allow) mark_ancestors(index, target, offset);
  if (entry.step != Step::allow) names_in_deny_or_rules_ = true;
}

// Its names hold for every port, so a name in the first flight always matters.
void LayerBuilder::add_list(std::uint32_t index, std::uint32_t names) {
  lists_.push_back({.entry = index, .names = names});
  denied_ports_.push_back({0, 65535});
  names_in_deny_or_rules_ = true;
}

// Names above an allowed one exist for the guest (NODATA, not NXDOMAIN). A `*.x` also makes x itself such a name.
void LayerBuilder::mark_ancestors(std::uint32_t index, const Target& target, std::uint32_t offset) {
  const std::string& name = target.name;
  if (target.scope != NameScope::exact) use(offset, name.size(), std::nullopt, index);
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    use(offset + static_cast<std::uint32_t>(dot + 1), name.size() - dot - 1, std::nullopt, index);
  }
}

void LayerBuilder::add_cidr(std::uint32_t index, const Entry& entry, const Target& target) {
  const net::Cidr& cidr = target.cidr;
  std::uint8_t flags = 0;
  if (cidr.is_single() || soft_range_around(cidr)) flags |= format::kOpens;
  const bool port53 = std::ranges::find(target.ports, net::PortRange{53, 53}) != target.ports.end();
  if (cidr.is_single() && port53 && entry.action == Action::allow) flags |= format::kPort53;
  const auto key = cidr_key(cidr);
  use_new(std::string_view(key.data(), key.size()), posting(index, target, flags));
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

void LayerBuilder::order_uses() {
  for (Use& use : uses_) use.hash = hash_bytes(as_bytes(text_of(use)), key_);
  std::ranges::sort(uses_, [this](const Use& a, const Use& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    if (const int order = text_of(a).compare(text_of(b)); order != 0) return order < 0;
    return a.sequence < b.sequence;
  });
}

std::optional<KeySlots::Laid> LayerBuilder::lay_out_keys() const {
  std::vector<std::uint64_t> slots;
  const Use* before = nullptr;
  for (const Use& use : uses_) {
    if (before == nullptr || !same_key(*before, use)) slots.push_back(KeySlots::slot_of(use.hash, slots.size() + 1));
    before = &use;
  }
  return KeySlots::lay_out(slots);
}

std::unexpected<Error> meet_in_one_place(const std::string& what) {
  return std::unexpected(
      Error("the policy: " + what + " meet in one place of its table").with_remedy("look for who chose them"));
}

// Without lists anybody knows the key that a policy begins with, and could choose names that meet. The next key comes
// from those names themselves, so that equal policies still make equal images and nobody can choose for it.
Result<KeySlots::Laid> LayerBuilder::choose_key() {
  constexpr int kTries = 4;
  for (int i = 0; i < kTries; ++i) {
    order_uses();
    if (auto laid = lay_out_keys()) return std::move(*laid);
    if (source_.listed.size() != 0) break;  // hashed already, and their names are not kept
    key_ = mix(key_ ^ checksum(as_bytes(text_)), kRoot3);
  }
  return meet_in_one_place("names");
}

void LayerBuilder::write_keys(Sink& sink, format::LayerRecord& record) const {
  std::vector<format::KeyRecord> keys;
  std::vector<format::PostingRecord> postings;
  const Use* before = nullptr;
  for (const Use& use : uses_) {
    if (before == nullptr || !same_key(*before, use)) {
      keys.push_back({.text_offset = use.text_offset,
                      .first_posting = static_cast<std::uint32_t>(postings.size()),
                      .posting_count = 0,
                      .text_size = static_cast<std::uint8_t>(use.text_size),
                      .allowed_below = format::kNone});
    }
    format::KeyRecord& key = keys.back();
    key.allowed_below = std::min(key.allowed_below, use.allowed_below);
    if (use.posting) {
      postings.push_back(*use.posting);
      // 24 bits; no policy file is long enough for as many entries about one key.
      WEIR_ASSERT(key.posting_count < 0xff'ffffu);
      key.posting_count = (key.posting_count + 1u) & 0xff'ffffu;
    }
    before = &use;
  }
  record.keys = sink.append_all(keys);
  record.postings = sink.append_all(postings);
}

Result<format::LayerRecord> LayerBuilder::write(Sink& sink) {
  WEIR_TRY(const KeySlots::Laid keys, choose_key());
  const auto listed = ListedSlots::lay_out(source_.listed.sorted_slots());
  if (!listed) return meet_in_one_place("names of a list");
  merge_denied_ports();
  sink.align();
  const std::size_t first = sink.bytes().size();
  format::LayerRecord record{};
  record.layer = static_cast<std::uint8_t>(source_.layer);
  record.mode = static_cast<std::uint8_t>(source_.mode);
  record.name_required = source_.name_need == NameNeed::required ? std::uint8_t{1} : std::uint8_t{0};
  record.names_in_deny_or_rules = names_in_deny_or_rules_ ? std::uint8_t{1} : std::uint8_t{0};
  record.blob.offset = sink.end();
  record.entries = sink.append_all(entries_);
  write_keys(sink, record);
  record.key_slots = sink.append_table(keys);
  record.ranges = sink.append_all(ranges_);
  record.name_deny_ports = sink.append_all(denied_ports_);
  record.types = sink.append_all(source_.dns_types);
  record.lists = sink.append_all(lists_);
  record.listed = sink.append_table(*listed);
  record.text = sink.append_all(std::vector<char>(text_.begin(), text_.end()));
  record.blob.count = sink.end() - record.blob.offset;
  record.address_allow = address_allow_;
  record.classes = classes_;
  record.lengths4 = lengths4_;
  record.lengths6 = lengths6_;
  record.hash_key = key_;
  record.checksum = checksum(Bytes(sink.bytes()).subspan(first));
  return record;
}

std::vector<format::AddressRecord> address_records(const std::vector<net::IpAddress>& addresses) {
  std::vector<format::AddressRecord> records;
  for (const net::IpAddress& address : addresses) records.push_back({address.bytes()});
  return records;
}

void append_egress(const ImageSource& source, Sink& sink, format::Header& header) {
  std::vector<char> text;
  for (const EgressProxy& each : source.egress_proxies)
    text.insert(text.end(), each.credentials.begin(), each.credentials.end());
  header.egress_text = sink.append_all(text);
  std::vector<format::EgressRecord> records;
  std::uint32_t offset = header.egress_text.offset;
  for (const EgressProxy& each : source.egress_proxies) {
    const auto size = static_cast<std::uint32_t>(each.credentials.size());
    records.push_back({.address = each.endpoint.address.bytes(),
                       .port = each.endpoint.port,
                       .kind = static_cast<std::uint8_t>(each.kind),
                       .credentials_in = static_cast<std::uint8_t>(each.credentials_in),
                       .credentials = {.offset = offset, .count = size}});
    offset += size;
  }
  header.egress = sink.append_all(records);
}

void append_upstreams(const ImageSource& source, Sink& sink, format::Header& header) {
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
  append_egress(source, sink, header);
  header.lifted = sink.append_all(address_records(source.lifted));
  header.upstreams = sink.append_all(upstreams);
  header.publishes = sink.append_all(publishes);
}

// What the operator says about the machine.
void append_machine(const ImageSource& source, Sink& sink, format::Header& header) {
  std::vector<format::CidrRecord> prefixes;
  for (const net::Cidr& cidr : source.nat64_prefixes) prefixes.push_back({cidr.base().bytes(), cidr.length()});
  header.nat64_prefixes = sink.append_all(prefixes);
  header.self_addresses = sink.append_all(address_records(source.self_addresses));
}

void put(std::vector<std::uint8_t>& bytes, const format::Header& header) {
  bytes.resize(std::max(bytes.size(), sizeof(header)));
  std::memcpy(bytes.data(), &header, sizeof(header));
}

}  // namespace

Result<std::vector<std::uint8_t>> build_image(const ImageSource& source) {
  Sink sink;
  sink.bytes().resize(sizeof(format::Header));
  format::Header header{};
  header.magic = format::kMagic;
  header.limits = source.limits.values;
  header.written_limits = source.written_limits;
  std::vector<format::LayerRecord> layers;
  for (const LayerSource& layer : source.layers) {
    LayerBuilder builder(layer);
    builder.collect();
    WEIR_TRY(layers.emplace_back(), builder.write(sink));
  }
  header.layers = sink.append_all(layers);
  append_machine(source, sink, header);
  append_upstreams(source, sink, header);
  header.total_size = sink.end();
  header.hash = digest_of(
      header, [&](std::size_t offset, std::size_t size) { return Bytes(sink.bytes()).subspan(offset, size); });
  put(sink.bytes(), header);
  return std::move(sink.bytes());
}

Result<ImagePatch> graft_floor(const Image& session, const ImageSource& floor) {
  format::Header header;
  std::memcpy(&header, session.bytes().data(), sizeof(header));
  Sink sink(session.bytes().size());
  LayerBuilder builder(floor.layers.front());
  builder.collect();
  WEIR_TRY(const format::LayerRecord around, builder.write(sink));
  const RecordSpan<format::LayerRecord> inner(session.bytes(), header.layers);
  header.layers = sink.append_all(std::vector<format::LayerRecord>{around, inner[0]});
  append_machine(floor, sink, header);
  header.total_size = sink.end();
  const std::size_t grafted = session.bytes().size();
  header.hash = digest_of(header, [&](std::size_t offset, std::size_t size) {
    return offset < grafted ? session.bytes().subspan(offset, size)
                            : Bytes(sink.bytes()).subspan(offset - grafted, size);
  });
  ImagePatch patch;
  put(patch.head, header);
  patch.tail = std::move(sink.bytes());
  return patch;
}

std::vector<std::uint8_t> patched(Bytes image, const ImagePatch& patch) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(image.size() + patch.tail.size());
  bytes.assign(image.begin(), image.end());
  bytes.insert(bytes.end(), patch.tail.begin(), patch.tail.end());
  std::ranges::copy(patch.head, bytes.begin());
  return bytes;
}

}  // namespace weir::policy
