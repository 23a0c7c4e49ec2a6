// Where somebody wants to go, as text: host [":" port] as in Host, in request targets and in SOCKS requests.
#pragma once

#include <optional>
#include <string_view>
#include <variant>

#include "net/domain_name.h"
#include "net/ip_address.h"

namespace weir::wire {

struct Authority {
  std::variant<net::IpAddress, net::DomainName> host;
  std::optional<net::Port> port;  // as written

  const net::DomainName* name() const { return std::get_if<net::DomainName>(&host); }
  const net::IpAddress* address() const { return std::get_if<net::IpAddress>(&host); }
  friend bool operator==(const Authority&, const Authority&) = default;
};
// A host name, a canonical dotted quad, or an IPv6 literal in brackets; no userinfo, no escapes, no empty port.
std::optional<Authority> parse_authority(std::string_view text);

// As parse_authority() reads it: brackets around IPv6, the port where there is one.
std::string text_of(const Authority& authority);

}  // namespace weir::wire
