// What only the running machine knows, handed to the decision as values. The supervisor refreshes it from netlink.
#pragma once

#include <vector>

#include "net/ip_address.h"

namespace weir::policy {

struct HostFacts {
  std::vector<net::Cidr> lan;                // reached without the default route: class @lan
  std::vector<net::IpAddress> host;          // every address of the machine: class @host
  std::vector<net::Cidr> sandboxes;          // weir's own subnets: class @sandboxes, hard floor
  std::vector<net::Endpoint> own_listeners;  // weir's published ports and API: hard floor
};

}  // namespace weir::policy
