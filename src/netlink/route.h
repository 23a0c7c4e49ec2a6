// rtnetlink requests, added to a batch: links, addresses, routes, rules.
#pragma once

#include <cstdint>
#include <optional>

#include "net/ip_address.h"
#include "netlink/message.h"

namespace weir::netlink {

enum class Family : std::uint8_t { v4, v6 };

struct LinkSettings {
  std::uint32_t mtu = 0;
  std::uint32_t tx_queue_length = 0;
};

// No router solicitations, no link-local address of its own (IN6_ADDR_GEN_MODE_NONE): call before the link is up.
void set_link(Batch& batch, std::uint32_t link, const LinkSettings& settings);
// No queueing discipline: packets go straight to the device. Before the link is up, or the kernel makes a default one,
// with rings for three times the queue length.
void leave_out_queue(Batch& batch, std::uint32_t link);
void set_link_up(Batch& batch, std::uint32_t link);

// Without duplicate address detection.
void add_address(Batch& batch, std::uint32_t link, net::IpAddress address, unsigned prefix_length);

// A unicast default route in table main.
void add_default_route(Batch& batch, Family family, std::uint32_t link);
// "local default dev LINK src SOURCE table TABLE": everything is this machine.
void add_local_default_route(Batch& batch, std::uint32_t link, net::IpAddress source, std::uint32_t table);

struct Rule {
  enum class Action : std::uint8_t { lookup, unreachable };

  std::uint32_t priority = 0;
  Action action = Action::lookup;
  std::uint32_t table = 0;
  std::optional<net::Cidr> source = {};
  std::optional<std::uint32_t> mark = {};
  bool tcp_only = false;
};
void add_rule(Batch& batch, Family family, const Rule& rule);

}  // namespace weir::netlink
