#include "wire/authority.h"

#include <string>

namespace weir::wire {

std::optional<Authority> parse_authority(std::string_view text) {
  Authority authority;
  std::string_view host = text;
  std::string_view rest;
  const bool bracketed = text.starts_with('[');
  const std::size_t end = bracketed ? text.find(']') : text.find(':');
  if (bracketed) {
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else if (end != std::string_view::npos) {
    host = text.substr(0, end);
    rest = text.substr(end);
  }
  if (!rest.empty()) {
    if (rest[0] != ':') return std::nullopt;
    const auto port = net::parse_port(rest.substr(1));
    if (!port) return std::nullopt;
    authority.port = *port;
  }
  if (const auto address = net::IpAddress::parse(host)) {
    // Without brackets only a dotted quad gets here, with brackets only colons may.
    if (bracketed != host.contains(':')) return std::nullopt;
    authority.host = *address;
    return authority;
  }
  if (bracketed) return std::nullopt;
  auto name = net::DomainName::parse(host);
  if (!name) return std::nullopt;
  authority.host = std::move(*name);
  return authority;
}

std::string text_of(const Authority& authority) {
  const net::IpAddress* const address = authority.address();
  const bool bracketed = address != nullptr && !address->is_v4();
  std::string text = address == nullptr ? authority.name()->text() : address->text();
  if (bracketed) text = "[" + text + "]";
  if (authority.port) text += ":" + std::to_string(*authority.port);
  return text;
}

}  // namespace weir::wire
