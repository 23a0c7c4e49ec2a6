// policy::HostFacts that are never stale: read again whenever the kernel says that an address or a route has changed.
#pragma once

#include <vector>

#include "base/error.h"
#include "netlink/machine.h"
#include "policy/compiled/host_facts.h"

namespace weir::dial {

class LiveFacts {
 public:
  // Begins to listen for changes. The first question reads: most short commands never connect, and their supervisors
  // never ask. `sandboxes`: weir's own subnets.
  static Result<LiveFacts> open(std::vector<net::Cidr> sandboxes);

  // Call before each decision. Fails only if the kernel cannot be asked; then nothing may be admitted.
  Result<const policy::HostFacts*> current();

  // As above.
  Result<bool> ipv6_default_route();

 private:
  LiveFacts(netlink::Socket changes, netlink::Socket questions, std::vector<net::Cidr> sandboxes)
      : changes_(std::move(changes)), questions_(std::move(questions)) {
    facts_.sandboxes = std::move(sandboxes);
  }
  Result<> read();

  netlink::Socket changes_;
  netlink::Socket questions_;
  policy::HostFacts facts_;
  bool ipv6_default_route_ = false;
  bool stale_ = true;
};

}  // namespace weir::dial
