#include "wire/socks5.h"

#include <algorithm>

namespace weir::wire::socks5 {

namespace {

constexpr std::uint8_t kVersion = 5;
constexpr std::uint8_t kMethodNone = 0;
constexpr std::uint8_t kConnect = 1;

// RFC 1928 5.
enum AddressType : std::uint8_t { kIpv4 = 1, kName = 3, kIpv6 = 4 };

Request malformed(Reply refusal) {
  Request request;
  request.progress = Progress::malformed;
  request.refusal = refusal;
  return request;
}

std::optional<std::variant<net::IpAddress, net::DomainName>> parse_host(std::uint8_t type, Bytes bytes) {
  if (type == kIpv4) {
    std::array<std::uint8_t, 4> octets;
    std::ranges::copy(bytes, octets.begin());
    return net::IpAddress::v4(octets);
  }
  if (type == kIpv6) {
    std::array<std::uint8_t, 16> octets;
    std::ranges::copy(bytes, octets.begin());
    return net::IpAddress::v6(octets);
  }
  // Clients write addresses as names too: the same parser as everywhere reads them.
  const std::string_view text = as_text(bytes);
  if (const auto address = net::IpAddress::parse(text)) return *address;
  auto name = net::DomainName::parse(text);
  if (!name) return std::nullopt;
  return std::move(*name);
}

}  // namespace

Greeting parse_greeting(Bytes bytes) {
  Greeting greeting;
  if (bytes.empty()) return greeting;
  if (bytes[0] != kVersion || (bytes.size() > 1 && bytes[1] == 0)) {
    greeting.progress = Progress::malformed;
    return greeting;
  }
  if (bytes.size() < 2 || bytes.size() < 2u + bytes[1]) return greeting;
  greeting.progress = Progress::complete;
  greeting.size = 2u + bytes[1];
  greeting.without_authentication = std::ranges::count(bytes.subspan(2, bytes[1]), kMethodNone) > 0;
  return greeting;
}

Request parse_request(Bytes bytes) {
  constexpr std::size_t kHead = 4;
  if (!bytes.empty() && bytes[0] != kVersion) return malformed(Reply::general_failure);
  if (bytes.size() < kHead + 1) return {};
  if (bytes[2] != 0) return malformed(Reply::general_failure);
  if (bytes[1] != kConnect) return malformed(Reply::command_not_supported);
  const std::uint8_t type = bytes[3];
  if (type != kIpv4 && type != kName && type != kIpv6) return malformed(Reply::address_type_not_supported);
  const std::size_t prefix = type == kName ? kHead + 1 : kHead;
  const std::size_t length = type == kName ? bytes[kHead] : type == kIpv4 ? 4 : 16;
  const std::size_t size = prefix + length + 2;
  if (bytes.size() < size) return {};
  auto host = parse_host(type, bytes.subspan(prefix, length));
  const auto port = static_cast<net::Port>((bytes[size - 2] << 8) | bytes[size - 1]);
  if (!host || port == 0) return malformed(Reply::general_failure);
  Request request;
  request.progress = Progress::complete;
  request.size = size;
  request.destination = {.host = std::move(*host), .port = port};
  return request;
}

std::array<std::uint8_t, 10> reply(Reply code) {
  return {kVersion, static_cast<std::uint8_t>(code), 0, kIpv4, 0, 0, 0, 0, 0, 0};
}

}  // namespace weir::wire::socks5
