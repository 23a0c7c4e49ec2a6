// What the machine's own network looks like now: its addresses and its routes.
#pragma once

#include <vector>

#include "base/error.h"
#include "net/ip_address.h"
#include "netlink/socket.h"

namespace weir::netlink {

struct Machine {
  std::vector<net::IpAddress> addresses;  // of every interface
  std::vector<net::Cidr> routes;          // unicast destinations of table main except the default ones
  bool ipv6_default_route = false;
};

// `socket`: NETLINK_ROUTE. Needs no privilege.
Result<Machine> read_machine(Socket& socket);

// A socket that becomes readable when addresses or routes change.
Result<Socket> watch_machine();

}  // namespace weir::netlink
