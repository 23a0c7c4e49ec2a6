#include "wire/dns_name.h"

#include <algorithm>
#include <string>

namespace weir::wire::dns {

namespace {

constexpr std::size_t kHeaderSize = 12;
constexpr std::size_t kMaxLabel = 63;

bool is_letter(std::uint8_t byte) {
  return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

// Length bytes are at most 63, below 'A': folding a whole wire name touches letters only.
std::uint8_t folded(std::uint8_t byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<std::uint8_t>(byte + ('a' - 'A')) : byte;
}

}  // namespace

bool Name::append_label(Bytes label) {
  if (label.empty() || label.size() > kMaxLabel || size_ + 1 + label.size() > kMaxSize) return false;
  bytes_[size_ - 1] = static_cast<std::uint8_t>(label.size());
  std::ranges::copy(label, bytes_.begin() + static_cast<std::ptrdiff_t>(size_));
  size_ += label.size() + 1;
  bytes_[size_ - 1] = 0;
  return true;
}

Name Name::of(const net::DomainName& name) {
  // A DomainName has labels of 1-63 bytes and 253 bytes together, so every append fits.
  Name wire;
  std::string_view rest = name.text();
  while (!rest.empty()) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    WEIR_ASSERT(wire.append_label(as_bytes(rest.substr(0, dot))));
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return wire;
}

bool Name::same_name(const Name& other) const {
  return std::ranges::equal(bytes(), other.bytes(), {}, folded, folded);
}

bool Name::same_bytes(const Name& other) const {
  return std::ranges::equal(bytes(), other.bytes());
}

std::optional<net::DomainName> Name::host() const {
  std::string text;
  text.reserve(size_);
  for (std::size_t at = 0; bytes_[at] != 0; at += bytes_[at] + 1u) {
    const Bytes label = bytes().subspan(at + 1, bytes_[at]);
    // A dot inside a label must not become a label boundary.
    if (std::ranges::find(label, std::uint8_t{'.'}) != label.end()) return std::nullopt;
    if (!text.empty()) text += '.';
    text += as_text(label);
  }
  auto parsed = net::DomainName::parse(text);
  if (!parsed) return std::nullopt;
  return std::move(*parsed);
}

Name Name::with_random_case(std::span<const std::uint8_t, 32> random) const {
  Name cased = *this;
  for (std::size_t i = 0; i < size_; ++i) {
    if (!is_letter(cased.bytes_[i])) continue;
    const bool upper = ((random[i / 8] >> (i % 8)) & 1) != 0;
    cased.bytes_[i] = static_cast<std::uint8_t>(upper ? cased.bytes_[i] & ~0x20 : cased.bytes_[i] | 0x20);
  }
  return cased;
}

std::optional<ReadName> read_name(Bytes message, std::size_t offset, Compression compression) {
  ReadName result;
  bool jumped = false;
  std::size_t run_start = offset;  // every pointer must lead before it
  for (std::size_t at = offset;;) {
    if (at >= message.size()) return std::nullopt;
    const std::size_t length = message[at];
    if (length == 0) {
      if (!jumped) result.next = at + 1;
      return result;
    }
    if (length <= kMaxLabel) {
      if (message.size() - at - 1 < length) return std::nullopt;
      if (!result.name.append_label(message.subspan(at + 1, length))) return std::nullopt;
      at += length + 1;
      continue;
    }
    if (length < 0xc0 || compression == Compression::forbidden || message.size() - at < 2) return std::nullopt;
    const std::size_t target = ((length & 0x3f) << 8) | message[at + 1];
    if (target < kHeaderSize || target >= run_start) return std::nullopt;
    if (!jumped) result.next = at + 2;
    jumped = true;
    run_start = at = target;
  }
}

namespace {

// Ranges that end at a label boundary.
constexpr std::string_view kPrivateZones[] = {
    "0.in-addr.arpa",                // RFC 6303 4.2
    "10.in-addr.arpa",               // RFC 1918, RFC 6303 4.1
    "127.in-addr.arpa",              // RFC 6303 4.2
    "254.169.in-addr.arpa",          // RFC 3927, RFC 6303 4.2
    "168.192.in-addr.arpa",          // RFC 1918, RFC 6303 4.1
    "2.0.192.in-addr.arpa",          // RFC 5737, RFC 6303 4.2
    "100.51.198.in-addr.arpa",       // RFC 5737, RFC 6303 4.2
    "113.0.203.in-addr.arpa",        // RFC 5737, RFC 6303 4.2
    "255.255.255.255.in-addr.arpa",  // RFC 919, RFC 6303 4.2
    // ::/112 holds :: and ::1; nothing else in it exists (RFC 4291 2.5.5.1, RFC 6303 4.3).
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",  // mapped IPv4, RFC 4291 2.5.5.2
    "8.b.d.0.1.0.0.2.ip6.arpa",                                  // RFC 3849, RFC 6303 4.6
    "c.f.ip6.arpa",                                              // fc00::/7, RFC 4193, RFC 6303 4.4
    "d.f.ip6.arpa",
    // fe80::/10 (RFC 4291 2.5.6, RFC 6303 4.5) and the former site-local fec0::/10 (RFC 3879).
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "c.e.f.ip6.arpa",
    "d.e.f.ip6.arpa",
    "e.e.f.ip6.arpa",
    "f.e.f.ip6.arpa",
};

// The number of the label right below `zone`, or -1.
int octet_below(const net::DomainName& name, std::string_view zone) {
  if (!name.is_below(zone)) return -1;
  std::string_view rest = name.text();
  rest.remove_suffix(zone.size() + 1);
  const std::size_t dot = rest.rfind('.');
  if (dot != std::string_view::npos) rest.remove_prefix(dot + 1);
  if (rest.size() > 3) return -1;
  int value = 0;
  for (const char c : rest) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

bool is_private_reverse_zone(const net::DomainName& name) {
  if (std::ranges::any_of(kPrivateZones, [&](std::string_view zone) { return name.is_at_or_below(zone); })) return true;
  // 172.16.0.0/12 (RFC 1918) and 100.64.0.0/10 (RFC 6598, RFC 7793) end inside an octet.
  const int in_172 = octet_below(name, "172.in-addr.arpa");
  const int in_100 = octet_below(name, "100.in-addr.arpa");
  return (in_172 >= 16 && in_172 <= 31) || (in_100 >= 64 && in_100 <= 127);
}

}  // namespace weir::wire::dns
