#include "wire/dns_rdata.h"

#include <algorithm>

namespace weir::wire::dns {

namespace {

using Rdata = std::vector<std::uint8_t>;

// Where the names of a type stand: fixed bytes, character strings, then names, then fixed bytes to the end.
struct Layout {
  Type type;
  std::size_t fixed_before;
  std::size_t strings;
  std::size_t names;
  std::size_t fixed_after;
};

constexpr Layout kLayouts[] = {
    {type::kNs, 0, 0, 1, 0},  // RFC 1035 3.3
    {3, 0, 0, 1, 0},          // MD
    {4, 0, 0, 1, 0},          // MF
    {type::kCname, 0, 0, 1, 0},
    {type::kSoa, 0, 0, 2, 20},
    {7, 0, 0, 1, 0},  // MB
    {8, 0, 0, 1, 0},  // MG
    {9, 0, 0, 1, 0},  // MR
    {type::kPtr, 0, 0, 1, 0},
    {14, 0, 0, 2, 0},  // MINFO
    {type::kMx, 2, 0, 1, 0},
    {17, 0, 0, 2, 0},          // RP, RFC 1183
    {18, 2, 0, 1, 0},          // AFSDB, RFC 1183
    {21, 2, 0, 1, 0},          // RT, RFC 1183
    {26, 2, 0, 2, 0},          // PX, RFC 2163
    {type::kSrv, 6, 0, 1, 0},  // RFC 2782
    {35, 4, 3, 1, 0},          // NAPTR, RFC 3403
    {36, 2, 0, 1, 0},          // KX, RFC 2230
    {39, 0, 0, 1, 0},          // DNAME, RFC 6672
};

// Obsolete types (SIG, NXT: RFC 3755; A6: RFC 6563) whose data may hold compressed names in layouts nobody needs.
constexpr bool is_obsolete(Type type) {
  return type == 24 || type == 30 || type == 38;
}

void append(Rdata& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_u16(Rdata& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

std::optional<Rdata> reencode_names(const Layout& layout, Bytes message, std::size_t offset, std::size_t end) {
  Rdata out;
  std::size_t at = offset;
  const auto copy = [&](std::size_t count) {
    if (end - at < count) return false;
    append(out, message.subspan(at, count));
    at += count;
    return true;
  };
  if (!copy(layout.fixed_before)) return std::nullopt;
  for (std::size_t i = 0; i < layout.strings; ++i) {
    if (at == end || !copy(1u + message[at])) return std::nullopt;
  }
  for (std::size_t i = 0; i < layout.names; ++i) {
    // The message ends at the record's end as far as this name goes: pointers lead backwards anyway.
    const auto name = read_name(message.first(end), at, Compression::allowed);
    if (!name) return std::nullopt;
    append(out, name->name.bytes());
    at = name->next;
  }
  if (!copy(layout.fixed_after) || at != end) return std::nullopt;
  return out;
}

bool are_character_strings(Bytes rdata) {
  if (rdata.empty()) return false;
  for (std::size_t at = 0; at < rdata.size(); at += 1u + rdata[at]) {
    if (rdata.size() - at - 1 < rdata[at]) return false;
  }
  return true;
}

// RFC 9460 14.3.2.
constexpr std::uint16_t kMandatory = 0;
constexpr bool is_removed_key(std::uint16_t key) {
  return key == 4 || key == 5 || key == 6;  // ipv4hint, ech, ipv6hint
}

// The `mandatory` list without the keys that are removed, which would otherwise make the record unusable.
std::optional<Rdata> filter_mandatory(Bytes keys) {
  if (keys.empty() || keys.size() % 2 != 0) return std::nullopt;
  Rdata kept;
  ByteReader reader(keys);
  while (const auto key = reader.u16()) {
    if (!is_removed_key(*key)) append_u16(kept, *key);
  }
  return kept;
}

std::optional<Rdata> reencode_service(Bytes message, std::size_t offset, std::size_t end) {
  if (end - offset < 3) return std::nullopt;
  Rdata out;
  append(out, message.subspan(offset, 2));
  const auto target = read_name(message.first(end), offset + 2, Compression::allowed);
  if (!target) return std::nullopt;
  append(out, target->name.bytes());
  ByteReader reader(message.subspan(target->next, end - target->next));
  int last_key = -1;
  while (reader.remaining() > 0) {
    const auto key = reader.u16();
    const auto length = reader.u16();
    if (!key || !length || *key <= last_key) return std::nullopt;
    const auto value = reader.take(*length);
    if (!value) return std::nullopt;
    last_key = *key;
    if (is_removed_key(*key)) continue;
    Rdata kept(value->begin(), value->end());
    if (*key == kMandatory) {
      auto filtered = filter_mandatory(*value);
      if (!filtered) return std::nullopt;
      if (filtered->empty()) continue;
      kept = std::move(*filtered);
    }
    append_u16(out, *key);
    append_u16(out, kept.size());
    append(out, kept);
  }
  return out;
}

}  // namespace

std::optional<std::vector<std::uint8_t>> reencode_rdata(Type type, Bytes message, std::size_t offset,
                                                        std::size_t size) {
  if (offset > message.size() || size > message.size() - offset || is_obsolete(type)) return std::nullopt;
  const std::size_t end = offset + size;
  if (type == type::kHttps || type == type::kSvcb) return reencode_service(message, offset, end);
  const auto* layout = std::ranges::find(kLayouts, type, &Layout::type);
  if (layout != std::end(kLayouts)) return reencode_names(*layout, message, offset, end);
  const Bytes rdata = message.subspan(offset, size);
  if (type == type::kTxt && !are_character_strings(rdata)) return std::nullopt;
  return Rdata(rdata.begin(), rdata.end());
}

}  // namespace weir::wire::dns
