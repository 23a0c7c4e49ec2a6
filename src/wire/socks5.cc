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

namespace {

constexpr std::uint8_t kMethodPassword = 2;
constexpr std::uint8_t kNoMethod = 0xff;
constexpr std::uint8_t kPasswordVersion = 1;  // RFC 1929 2

void append(std::string& text, Bytes bytes) {
  text += as_text(bytes);
}
void append_short(std::string& text, std::string_view value) {
  text += static_cast<char>(value.size());
  text += value;
}

}  // namespace

std::string build_greeting(Offer offer) {
  const std::uint8_t method = offer == Offer::password ? kMethodPassword : kMethodNone;
  return {static_cast<char>(kVersion), '\1', static_cast<char>(method)};
}

std::string build_password(std::string_view user, std::string_view password) {
  WEIR_ASSERT(user.size() <= 255 && password.size() <= 255);
  std::string text(1, static_cast<char>(kPasswordVersion));
  append_short(text, user);
  append_short(text, password);
  return text;
}

std::string build_request(const Authority& destination) {
  std::string text = {static_cast<char>(kVersion), static_cast<char>(kConnect), '\0'};
  if (const net::DomainName* const name = destination.name(); name != nullptr) {
    text += static_cast<char>(kName);
    append_short(text, name->text());
  } else {
    const net::IpAddress& address = *destination.address();
    text += static_cast<char>(address.is_v4() ? kIpv4 : kIpv6);
    if (address.is_v4()) {
      append(text, address.v4_octets());
    } else {
      append(text, address.bytes());
    }
  }
  text += static_cast<char>(*destination.port >> 8);
  text += static_cast<char>(*destination.port & 0xff);
  return text;
}

Choice parse_choice(Bytes bytes, Offer offer) {
  Choice choice;
  if (!bytes.empty() && bytes[0] != kVersion) choice.progress = Progress::malformed;
  if (bytes.size() < 2 || choice.progress == Progress::malformed) return choice;
  choice.accepted = bytes[1] == (offer == Offer::password ? kMethodPassword : kMethodNone);
  choice.progress = choice.accepted || bytes[1] == kNoMethod ? Progress::complete : Progress::malformed;
  return choice;
}

Choice parse_password_outcome(Bytes bytes) {
  Choice choice;
  if (!bytes.empty() && bytes[0] != kPasswordVersion) choice.progress = Progress::malformed;
  if (bytes.size() < 2 || choice.progress == Progress::malformed) return choice;
  choice.progress = Progress::complete;
  choice.accepted = bytes[1] == 0;
  return choice;
}

Answer parse_answer(Bytes bytes) {
  constexpr std::size_t kHead = 4;
  Answer answer;
  if (!bytes.empty() && bytes[0] != kVersion) answer.progress = Progress::malformed;
  if (bytes.size() < 2 || answer.progress == Progress::malformed) return answer;
  answer.code = bytes[1];
  if (answer.code != static_cast<std::uint8_t>(Reply::succeeded)) {
    answer.progress = Progress::complete;
    answer.size = 2;
    return answer;
  }
  if (bytes.size() < kHead + 1) return answer;
  const std::uint8_t type = bytes[3];
  if (bytes[2] != 0 || (type != kIpv4 && type != kName && type != kIpv6)) {
    answer.progress = Progress::malformed;
    return answer;
  }
  const std::size_t length = type == kName ? 1u + bytes[kHead] : type == kIpv4 ? 4 : 16;
  if (bytes.size() < kHead + length + 2) return answer;
  answer.progress = Progress::complete;
  answer.size = kHead + length + 2;
  return answer;
}

std::array<std::uint8_t, 10> reply(Reply code) {
  return {kVersion, static_cast<std::uint8_t>(code), 0, kIpv4, 0, 0, 0, 0, 0, 0};
}

}  // namespace weir::wire::socks5
