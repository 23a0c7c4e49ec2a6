// The host's name servers.
#pragma once

#include <string_view>
#include <vector>

#include "net/ip_address.h"

namespace weir::dial {

// `nameserver` lines of a resolv.conf, at most three (resolv.conf(5)), port 53. Search lists and options are ignored:
// the resolver asks for absolute names only. Link-local servers with a zone are skipped.
std::vector<net::Endpoint> parse_resolv_conf(std::string_view text);

// Those of /etc/resolv.conf; empty if there are none: then every name fails with SERVFAIL.
std::vector<net::Endpoint> host_resolvers();

}  // namespace weir::dial
