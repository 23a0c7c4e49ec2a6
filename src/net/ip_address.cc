#include "net/ip_address.h"

#include <charconv>
#include <optional>

namespace weir::net {

namespace {

std::optional<unsigned> parse_decimal(std::string_view text, unsigned limit) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > limit) return std::nullopt;
  return value;
}

std::optional<IpAddress::V4> parse_v4(std::string_view text) {
  IpAddress::V4 octets{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t dot = i < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const auto octet = parse_decimal(text.substr(0, dot), 255);
    if (!octet) return std::nullopt;
    octets[i] = static_cast<std::uint8_t>(*octet);
    text.remove_prefix(i < 3 ? dot + 1 : dot);
  }
  return octets;
}

std::optional<std::uint16_t> parse_hextet(std::string_view text) {
  if (text.empty() || text.size() > 4) return std::nullopt;
  std::uint16_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The groups on one side of "::" (or all of them). The dotted quad may only come last. Returns the count, or nullopt.
std::optional<std::size_t> parse_groups(std::string_view text, bool quad_allowed,
                                        std::array<std::uint16_t, 8>& groups) {
  std::size_t count = 0;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view part = text.substr(0, colon);
    if (colon == std::string_view::npos && quad_allowed && part.find('.') != std::string_view::npos) {
      const auto octets = parse_v4(part);
      if (!octets || count > 6) return std::nullopt;
      groups[count++] = static_cast<std::uint16_t>(((*octets)[0] << 8) | (*octets)[1]);
      groups[count++] = static_cast<std::uint16_t>(((*octets)[2] << 8) | (*octets)[3]);
      return count;
    }
    const auto group = parse_hextet(part);
    if (!group || count > 7) return std::nullopt;
    groups[count++] = *group;
    if (colon == std::string_view::npos) return count;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;  // a trailing single colon
  }
  return count;
}

std::optional<IpAddress::V6> parse_v6(std::string_view text) {
  std::array<std::uint16_t, 8> head{};
  std::array<std::uint16_t, 8> tail{};
  std::array<std::uint16_t, 8> groups{};
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    const auto count = parse_groups(text, true, groups);
    if (!count || *count != 8) return std::nullopt;
  } else {
    const auto before = parse_groups(text.substr(0, gap), false, head);
    const auto after = parse_groups(text.substr(gap + 2), true, tail);
    // "::" stands for at least one group of zeros.
    if (!before || !after || *before + *after > 7) return std::nullopt;
    for (std::size_t i = 0; i < *before; ++i) groups[i] = head[i];
    for (std::size_t i = 0; i < *after; ++i) groups[8 - *after + i] = tail[i];
  }
  IpAddress::V6 bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(groups[i]);
  }
  return bytes;
}

std::string v4_text(IpAddress::V4 octets) {
  std::string text;
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) text += '.';
    text += std::to_string(octets[i]);
  }
  return text;
}

// RFC 5952: lower case, no leading zeros, the longest run (first of equals, at least two groups) becomes "::".
std::string v6_text(const IpAddress::V6& bytes) {
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) groups[i] = (static_cast<unsigned>(bytes[2 * i]) << 8) | bytes[2 * i + 1];
  std::size_t best = 8;
  std::size_t best_length = 1;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t length = 0;
    while (i + length < 8 && groups[i + length] == 0) ++length;
    if (length > best_length) {
      best = i;
      best_length = length;
    }
  }
  std::string text;
  for (std::size_t i = 0; i < 8;) {
    if (i == best) {
      text += "::";
      i += best_length;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    std::array<char, 4> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), groups[i], 16).ptr;
    text.append(digits.data(), end);
    ++i;
  }
  return text;
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    if (const auto octets = parse_v4(text)) return v4(*octets);
  } else if (const auto bytes = parse_v6(text)) {
    return v6(*bytes);
  }
  return fail("'" + std::string(text) + "' is not an IP address (canonical dotted quad or RFC 4291 text)");
}

std::string IpAddress::text() const {
  return is_v4() ? v4_text(v4_octets()) : v6_text(bytes_);
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  WEIR_TRY(const IpAddress address, IpAddress::parse(text.substr(0, slash)));
  if (slash == std::string_view::npos) return single(address);
  const auto length = parse_decimal(text.substr(slash + 1), address.is_v4() ? 32 : 128);
  if (!length)
    return fail("'" + std::string(text) + "': the prefix length must be 0-" + (address.is_v4() ? "32" : "128"));
  const Cidr cidr = of(address, *length);
  if (cidr.base() != address) {
    return std::unexpected(
        Error("'" + std::string(text) + "' has bits set behind the prefix").with_remedy("write " + cidr.text()));
  }
  return cidr;
}

IpAddress Cidr::last() const {
  auto bytes = base_.bytes();
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned kept = bits_ <= i * 8 ? 0 : (bits_ - i * 8 >= 8 ? 8 : bits_ - i * 8);
    bytes[i] = static_cast<std::uint8_t>(bytes[i] | (0xffu >> kept));
  }
  return IpAddress::v6(bytes);
}

std::string Cidr::text() const {
  return base_.text() + "/" + std::to_string(length());
}

Result<Port> parse_port(std::string_view text) {
  const auto port = parse_decimal(text, 65535);
  if (!port || *port == 0) return fail("'" + std::string(text) + "' is not a port (1-65535)");
  return static_cast<Port>(*port);
}

std::string Endpoint::text() const {
  if (address.is_v4()) return address.text() + ":" + std::to_string(port);
  return "[" + address.text() + "]:" + std::to_string(port);
}

std::string_view name_of(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp:
      return "tcp";
    case Protocol::udp:
      return "udp";
    case Protocol::icmp:
      return "icmp";
  }
  return "?";
}

}  // namespace weir::net
