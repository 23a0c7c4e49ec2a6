#include "dial/live_facts.h"

#include <linux/netlink.h>

namespace weir::dial {

Result<LiveFacts> LiveFacts::open(std::vector<net::Cidr> sandboxes) {
  // Subscribed before the first reading, so that no change falls in between.
  WEIR_TRY(netlink::Socket changes, netlink::watch_machine());
  WEIR_TRY(netlink::Socket questions, netlink::Socket::open(NETLINK_ROUTE));
  return LiveFacts(std::move(changes), std::move(questions), std::move(sandboxes));
}

Result<const policy::HostFacts*> LiveFacts::current() {
  // Remembered until it was read: after a failed reading the old facts are no facts.
  if (changes_.drain()) stale_ = true;
  if (stale_) WEIR_CHECK_OK(read());
  stale_ = false;
  return &facts_;
}

Result<bool> LiveFacts::ipv6_default_route() {
  WEIR_CHECK_OK(current());
  return ipv6_default_route_;
}

Result<> LiveFacts::read() {
  WEIR_TRY(netlink::Machine machine,
           in_context(netlink::read_machine(questions_), "cannot read the machine's addresses"));
  facts_.host = std::move(machine.addresses);
  facts_.lan = std::move(machine.routes);
  ipv6_default_route_ = machine.ipv6_default_route;
  return {};
}

}  // namespace weir::dial
