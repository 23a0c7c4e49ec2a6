#include "policy/compiled/image.h"

#include <algorithm>
#include <cstring>

#include "policy/compiled/digest.h"
#include "policy/compiled/layer_view.h"

namespace weir::policy {

struct Image::Decoded {
  std::array<char, format::kHashDigits> hash;
  std::vector<LayerView> layers;
  Limits limits;
  std::uint32_t written_limits = 0;
  std::vector<DnsUpstream> upstreams;
  std::vector<Publish> publishes;
  std::vector<net::IpAddress> self_addresses;
  std::vector<net::IpAddress> lifted;
  std::vector<net::Cidr> nat64_prefixes;
};

namespace {

constexpr const char* kCompileAgain = "compile it again: weir policy compile --policy FILE -o IMAGE";

template <class Record>
std::uint64_t end_of(format::Section section) {
  return std::uint64_t{section.offset} + std::uint64_t{section.count} * sizeof(Record);
}

template <class Record>
bool fits(Bytes image, format::Section section) {
  return end_of<Record>(section) <= image.size();
}

template <class Record>
bool fits(format::Section blob, format::Section section) {
  return section.offset >= blob.offset && end_of<Record>(section) <= end_of<char>(blob);
}

bool sections_fit(Bytes image, const format::Header& header) {
  return fits<format::LayerRecord>(image, header.layers) && fits<format::CidrRecord>(image, header.nat64_prefixes) &&
         fits<format::AddressRecord>(image, header.self_addresses) &&
         fits<format::AddressRecord>(image, header.lifted) && fits<format::UpstreamRecord>(image, header.upstreams) &&
         fits<format::PublishRecord>(image, header.publishes);
}

// The checksum of a layer is that of its blob: nothing that decides may lie elsewhere.
bool sections_fit(Bytes image, const format::LayerRecord& layer) {
  const format::Section blob = layer.blob;
  return fits<char>(image, blob) && fits<char>(blob, layer.text) && fits<format::EntryRecord>(blob, layer.entries) &&
         fits<format::KeyRecord>(blob, layer.keys) && fits<std::uint64_t>(blob, layer.key_slots.slots) &&
         fits<std::uint64_t>(blob, layer.listed.slots) && fits<format::ListRecord>(blob, layer.lists) &&
         fits<format::PostingRecord>(blob, layer.postings) && fits<format::RangeRecord>(blob, layer.ranges) &&
         fits<format::RangeRecord>(blob, layer.name_deny_ports) && fits<std::uint16_t>(blob, layer.types);
}

bool lists_valid(Bytes image, const format::LayerRecord& layer) {
  const RecordSpan<format::ListRecord> lists(image, layer.lists);
  if (lists.size() > format::kMaxLists) return false;
  for (std::uint32_t i = 0; i < lists.size(); ++i) {
    if (lists[i].entry >= layer.entries.count) return false;
    if (i > 0 && lists[i].entry <= lists[i - 1].entry) return false;
  }
  // Of lists that nobody could look up, and keys, nothing would be denied.
  return (lists.size() == 0) == (layer.listed.slots.count == 0) &&
         (lists.size() == 0 || layer.names_in_deny_or_rules) &&
         (layer.keys.count == 0) == (layer.key_slots.slots.count == 0);
}

bool table_valid(const format::SlotSection& table) {
  return table.homes <= table.slots.count && (table.homes == 0) == (table.slots.count == 0);
}

// A length that no prefix has would shift beyond the address; host mode has no policy to look at.
bool scalars_valid(const format::LayerRecord& layer) {
  if (layer.layer < static_cast<std::uint8_t>(Layer::floor) ||
      layer.layer > static_cast<std::uint8_t>(kInnermostLayer)) {
    return false;
  }
  constexpr std::uint64_t kV4Lengths = (std::uint64_t{1} << 33) - 1;
  if ((layer.lengths4[0] & ~kV4Lengths) != 0 || layer.lengths4[1] != 0 || layer.lengths4[2] != 0) return false;
  if ((layer.lengths6[2] & ~std::uint64_t{1}) != 0) return false;
  if ((layer.classes >> kAddressClassCount) != 0) return false;
  if (layer.address_allow != format::kNone && layer.address_allow >= layer.entries.count) return false;
  return layer.mode < static_cast<std::uint8_t>(Mode::host) && layer.name_required <= 1 &&
         layer.names_in_deny_or_rules <= 1;
}

// From the outside in, each at most once, and a session always.
bool order_valid(const std::vector<LayerView>& layers) {
  bool session = false;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i > 0 && layers[i].layer() <= layers[i - 1].layer()) return false;
    session = session || layers[i].layer() == Layer::session;
  }
  return session;
}

Result<std::vector<LayerView>> open_layers(Bytes image, const format::Header& header) {
  if (header.layers.count > format::kMaxLayers) return fail("the policy image has too many layers");
  const RecordSpan<format::LayerRecord> records(image, header.layers);
  std::vector<LayerView> layers;
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    const format::LayerRecord record = records[i];
    const bool valid = scalars_valid(record) && sections_fit(image, record) && table_valid(record.key_slots) &&
                       table_valid(record.listed) && lists_valid(image, record);
    if (!valid) return fail("the policy image is damaged (layer " + std::to_string(i) + ")");
    layers.emplace_back(image, record);
  }
  if (!order_valid(layers)) return fail("the policy image is damaged (order of layers)");
  return layers;
}

std::vector<net::IpAddress> open_addresses(Bytes image, format::Section section) {
  const RecordSpan<format::AddressRecord> records(image, section);
  std::vector<net::IpAddress> addresses;
  for (std::uint32_t i = 0; i < records.size(); ++i) addresses.push_back(net::IpAddress::v6(records[i].bytes));
  return addresses;
}

Result<std::vector<net::Cidr>> open_prefixes(Bytes image, format::Section section) {
  const RecordSpan<format::CidrRecord> records(image, section);
  std::vector<net::Cidr> prefixes;
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    const auto base = net::IpAddress::v6(records[i].base);
    if (records[i].length > (base.is_v4() ? 32u : 128u)) return fail("the policy image is damaged (prefixes)");
    prefixes.push_back(net::Cidr::of(base, records[i].length));
  }
  return prefixes;
}

Result<std::vector<DnsUpstream>> open_upstreams(Bytes image, format::Section section) {
  const RecordSpan<format::UpstreamRecord> records(image, section);
  std::vector<DnsUpstream> upstreams;
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    const format::UpstreamRecord record = records[i];
    const auto transport = static_cast<DnsUpstream::Transport>(record.transport);
    const bool known = transport == DnsUpstream::Transport::plain || transport == DnsUpstream::Transport::tls;
    if (!known || record.port == 0) return fail("the policy image is damaged (name servers)");
    upstreams.push_back(
        {.transport = transport, .endpoint = {.address = net::IpAddress::v6(record.address), .port = record.port}});
  }
  return upstreams;
}

Result<std::vector<Publish>> open_publishes(Bytes image, format::Section section) {
  const RecordSpan<format::PublishRecord> records(image, section);
  std::vector<Publish> publishes;
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    const format::PublishRecord record = records[i];
    const auto protocol = static_cast<net::Protocol>(record.protocol);
    const bool known = protocol == net::Protocol::tcp || protocol == net::Protocol::udp;
    if (!known || record.guest == 0) return fail("the policy image is damaged (published ports)");
    publishes.push_back(
        {.protocol = protocol, .bind = net::IpAddress::v6(record.bind), .host = record.host, .guest = record.guest});
  }
  return publishes;
}

}  // namespace

std::string publish_text(const Publish& publish) {
  return net::Endpoint{.address = publish.bind, .port = publish.host}.text() + ":" + std::to_string(publish.guest) +
         "/" + std::string(net::name_of(publish.protocol));
}

std::string_view name_of(Mode mode) {
  constexpr std::array<std::string_view, kModeCount> kNames = {"none",        "inbound", "allowlist", "public",
                                                               "semitrusted", "open",    "host"};
  const auto index = static_cast<std::size_t>(mode);
  return index < kNames.size() ? kNames[index] : std::string_view("none");
}

Result<std::shared_ptr<const Image::Decoded>> Image::decode(Bytes bytes) {
  format::Header header;
  if (bytes.size() < sizeof(header)) return fail("the policy image is too short");
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != format::kMagic) {
    if (!as_text(bytes).starts_with(kFamily)) return fail("this is no compiled policy");
    return std::unexpected(Error("this policy was compiled by another version of weir").with_remedy(kCompileAgain));
  }
  if (header.total_size != bytes.size() || !sections_fit(bytes, header)) return fail("the policy image is cut off");
  auto decoded = std::make_shared<Decoded>();
  decoded->hash = header.hash;
  decoded->limits.values = header.limits;
  decoded->written_limits = header.written_limits;
  WEIR_TRY(decoded->layers, open_layers(bytes, header));
  WEIR_TRY(decoded->nat64_prefixes, open_prefixes(bytes, header.nat64_prefixes));
  WEIR_TRY(decoded->upstreams, open_upstreams(bytes, header.upstreams));
  WEIR_TRY(decoded->publishes, open_publishes(bytes, header.publishes));
  decoded->self_addresses = open_addresses(bytes, header.self_addresses);
  decoded->lifted = open_addresses(bytes, header.lifted);
  return decoded;
}

Result<Image> Image::open(Bytes bytes) {
  WEIR_TRY(auto decoded, decode(bytes));
  return Image(bytes, std::move(decoded));
}

Result<> Image::check_sums() const {
  const auto damaged = [] {
    return std::unexpected(
        Error("this compiled policy is not what weir wrote: its checksum is wrong").with_remedy(kCompileAgain));
  };
  format::Header header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  const RecordSpan<format::LayerRecord> records(bytes_, header.layers);
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    const format::LayerRecord record = records[i];
    if (checksum(bytes_.subspan(record.blob.offset, record.blob.count)) != record.checksum) return damaged();
  }
  const auto bytes_at = [this](std::size_t offset, std::size_t size) { return bytes_.subspan(offset, size); };
  if (digest_of(header, bytes_at) != header.hash) return damaged();
  return {};
}

Mode Image::mode() const {
  return decoded_->layers.back().mode();
}
std::string_view Image::hash() const {
  return {decoded_->hash.data(), decoded_->hash.size()};
}
std::string_view Image::entry_text(RuleRef rule) const {
  const LayerView* const found = layer(rule.layer);
  return found == nullptr ? std::string_view() : found->entry_text(rule.index);
}
std::uint32_t Image::written_limits() const {
  return decoded_->written_limits;
}
const Limits& Image::limits() const {
  return decoded_->limits;
}
std::span<const DnsUpstream> Image::dns_upstreams() const {
  return decoded_->upstreams;
}
std::span<const Publish> Image::publishes() const {
  return decoded_->publishes;
}
std::span<const LayerView> Image::layers() const {
  return decoded_->layers;
}
const LayerView* Image::layer(Layer layer) const {
  for (const LayerView& each : decoded_->layers) {
    if (each.layer() == layer) return &each;
  }
  return nullptr;
}
std::span<const net::IpAddress> Image::self_addresses() const {
  return decoded_->self_addresses;
}
std::span<const net::IpAddress> Image::lifted() const {
  return decoded_->lifted;
}
std::span<const net::Cidr> Image::nat64_prefixes() const {
  return decoded_->nat64_prefixes;
}

}  // namespace weir::policy
