// The small grammars inside policy values: name servers, record types, rates, published ports.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "policy/compiled/image.h"

namespace weir::policy {

// "9.9.9.9", "9.9.9.9:5353", "2620:fe::fe", "[2620:fe::fe]:53", "tls://9.9.9.9" (port 853).
Result<DnsUpstream> parse_upstream(std::string_view text);
std::string upstream_text(const DnsUpstream& upstream);

// "http://127.0.0.1:8080" or "socks5h://[::1]:1080": an address, or localhost, with its port. Errors never repeat the
// text: where it is wrong it may hold a password.
Result<net::Endpoint> parse_egress_url(std::string_view text, EgressProxy::Kind kind);
// "file:/absolute/path" or "env:NAME", into the two fields of `proxy`.
Result<> parse_credentials_place(std::string_view text, EgressProxy& proxy);
std::string egress_text(const EgressProxy& proxy);  // "http://127.0.0.1:8080, credentials from env:NAME"

// "MX", "mx", "TYPE64" (RFC 3597). Meta types (ANY, AXFR, ...) are errors.
Result<std::uint16_t> parse_dns_type(std::string_view text);
std::string dns_type_text(std::uint16_t type);

// "100Mbit/s", "1Gbit/s", "500kbit", "9600bit/s": decimal powers, bits per second.
Result<std::uint64_t> parse_rate_bits(std::string_view text);

// "[BIND:]HOST:GUEST"; BIND an IPv4 address or an IPv6 one in brackets, HOST 0 for any free port.
Result<Publish> parse_publish(std::string_view text, net::Protocol protocol);
// The same with the protocol behind it, as -p takes it: "8080:80", "8080:80/udp".
Result<Publish> parse_publish_flag(std::string_view text);

// An IPv6 prefix of a length that RFC 6052 2.2 knows.
Result<net::Cidr> parse_nat64_prefix(std::string_view text);

}  // namespace weir::policy
