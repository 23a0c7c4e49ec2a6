// One 128-bit address type for both families.
//
// IPv4 lives in ::ffff:0:0/96, so an IPv4-mapped IPv6 address *is* the IPv4 address: the two spellings cannot be
// judged differently (RFC 4291 2.5.5.2).
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace weir::net {

class IpAddress {
 public:
  using V4 = std::array<std::uint8_t, 4>;
  using V6 = std::array<std::uint8_t, 16>;

  // The unspecified IPv6 address.
  constexpr IpAddress() = default;

  static constexpr IpAddress v4(V4 octets) {
    IpAddress address;
    address.bytes_[10] = 0xff;
    address.bytes_[11] = 0xff;
    for (std::size_t i = 0; i < 4; ++i) address.bytes_[12 + i] = octets[i];
    return address;
  }
  static constexpr IpAddress v4(std::uint32_t host_order) {
    return v4({static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
               static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)});
  }
  // A mapped address becomes IPv4.
  static constexpr IpAddress v6(V6 bytes) {
    IpAddress address;
    address.bytes_ = bytes;
    return address;
  }

  // Canonical dotted quad (no leading zeros, exactly four parts) or RFC 4291 section 2.2 text. No zone, no brackets.
  static Result<IpAddress> parse(std::string_view text);

  constexpr bool is_v4() const {
    for (std::size_t i = 0; i < 10; ++i) {
      if (bytes_[i] != 0) return false;
    }
    return bytes_[10] == 0xff && bytes_[11] == 0xff;
  }
  constexpr V4 v4_octets() const { return {bytes_[12], bytes_[13], bytes_[14], bytes_[15]}; }
  constexpr std::uint32_t v4_bits() const {
    return (static_cast<std::uint32_t>(bytes_[12]) << 24) | (static_cast<std::uint32_t>(bytes_[13]) << 16) |
           (static_cast<std::uint32_t>(bytes_[14]) << 8) | static_cast<std::uint32_t>(bytes_[15]);
  }
  // All 16 bytes; IPv4 in its mapped form.
  constexpr const V6& bytes() const { return bytes_; }

  // Dotted quad, or RFC 5952 text.
  std::string text() const;

  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  V6 bytes_{};
};

// A block of addresses; host bits are always zero.
class Cidr {
 public:
  constexpr Cidr() = default;

  // `length` counts within the family: 0-32 for IPv4, 0-128 for IPv6. Host bits are cleared.
  static constexpr Cidr of(IpAddress address, unsigned length) {
    Cidr cidr;
    cidr.bits_ = address.is_v4() ? length + 96 : length;
    auto bytes = address.bytes();
    for (unsigned i = 0; i < 16; ++i) {
      const unsigned kept = cidr.bits_ <= i * 8 ? 0 : (cidr.bits_ - i * 8 >= 8 ? 8 : cidr.bits_ - i * 8);
      bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00u >> kept));
    }
    cidr.base_ = IpAddress::v6(bytes);
    cidr.v4_ = address.is_v4();
    return cidr;
  }
  static constexpr Cidr single(IpAddress address) { return of(address, address.is_v4() ? 32 : 128); }

  // "10.0.0.0/8", "fd00::/8"; a bare address is a block of one. Set host bits ("10.0.0.1/8") are an error.
  static Result<Cidr> parse(std::string_view text);

  constexpr bool contains(IpAddress address) const {
    // ::/0 must not swallow IPv4: the families are apart even though one type holds both.
    if (address.is_v4() != v4_) return false;
    // Two words instead of sixteen bytes: an address is looked for in every block of the tables for each connection.
    const Words mine = words_of(base_);
    const Words theirs = words_of(address);
    const std::uint64_t high = bits_ == 0 ? 0 : ~std::uint64_t{0} << (64 - (bits_ < 64 ? bits_ : 64));
    const std::uint64_t low = bits_ <= 64 ? 0 : ~std::uint64_t{0} << (128 - bits_);
    return (((mine[0] ^ theirs[0]) & high) | ((mine[1] ^ theirs[1]) & low)) == 0;
  }
  constexpr bool contains(const Cidr& inner) const { return inner.bits_ >= bits_ && contains(inner.base_); }
  constexpr bool overlaps(const Cidr& other) const { return contains(other) || other.contains(*this); }

  constexpr bool is_v4() const { return v4_; }
  constexpr IpAddress base() const { return base_; }
  // Within the family: 0-32 or 0-128.
  constexpr unsigned length() const { return v4_ ? bits_ - 96 : bits_; }
  IpAddress last() const;
  bool is_single() const { return bits_ == 128; }
  std::string text() const;

  friend constexpr bool operator==(const Cidr&, const Cidr&) = default;

 private:
  using Words = std::array<std::uint64_t, 2>;
  static constexpr Words words_of(IpAddress address) {
    Words words = std::bit_cast<Words>(address.bytes());
    if constexpr (std::endian::native == std::endian::little) {
      for (std::uint64_t& word : words) word = std::byteswap(word);
    }
    return words;
  }

  IpAddress base_{};
  unsigned bits_ = 128;  // of the 128-bit form
  bool v4_ = false;
};

// 1-65535. Zero is never a port that anything may talk to.
using Port = std::uint16_t;

// Decimal digits only, no sign, no space, no leading zero, 1-65535.
Result<Port> parse_port(std::string_view text);

struct PortRange {
  Port first = 1;
  Port last = 65535;

  constexpr bool contains(Port port) const { return first <= port && port <= last; }
  constexpr bool is_any() const { return first <= 1 && last == 65535; }
  friend constexpr auto operator<=>(const PortRange&, const PortRange&) = default;
};

struct Endpoint {
  IpAddress address;
  Port port = 0;

  // "192.0.2.1:80", "[2001:db8::1]:80"
  std::string text() const;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

enum class Protocol : std::uint8_t { tcp = 1, udp = 2, icmp = 3 };
std::string_view name_of(Protocol protocol);

}  // namespace weir::net

template <>
struct std::hash<weir::net::IpAddress> {
  std::size_t operator()(const weir::net::IpAddress& address) const noexcept {
    return std::hash<std::string_view>{}(weir::as_text(address.bytes()));
  }
};
