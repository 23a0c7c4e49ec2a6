#include "netlink/machine.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>

namespace weir::netlink {

namespace {

std::optional<net::IpAddress> address_of(std::uint8_t family, const rtattr& attribute) {
  const Bytes value(reinterpret_cast<const std::uint8_t*>(RTA_DATA(&attribute)), RTA_PAYLOAD(&attribute));
  if (family == AF_INET && value.size() == 4) return net::IpAddress::v4({value[0], value[1], value[2], value[3]});
  if (family == AF_INET6 && value.size() == 16) {
    net::IpAddress::V6 bytes{};
    std::copy(value.begin(), value.end(), bytes.begin());
    return net::IpAddress::v6(bytes);
  }
  return std::nullopt;
}

// The first attribute of `type` that follows a fixed header of `header_size` bytes, or null.
const rtattr* find_attribute(const nlmsghdr& message, std::size_t header_size, std::uint16_t type) {
  if (message.nlmsg_len < NLMSG_LENGTH(header_size)) return nullptr;
  auto left = static_cast<unsigned>(message.nlmsg_len - NLMSG_LENGTH(header_size));
  const auto* start = static_cast<const std::uint8_t*>(NLMSG_DATA(&message)) + NLMSG_ALIGN(header_size);
  const auto* attribute = reinterpret_cast<const rtattr*>(start);
  while (RTA_OK(attribute, left)) {
    if (attribute->rta_type == type) return attribute;
    attribute = RTA_NEXT(attribute, left);
  }
  return nullptr;
}

void add_address(Machine& machine, const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWADDR || message.nlmsg_len < NLMSG_LENGTH(sizeof(ifaddrmsg))) return;
  const auto& header = *static_cast<const ifaddrmsg*>(NLMSG_DATA(&message));
  // IFA_LOCAL is the machine's own address on point-to-point links, where IFA_ADDRESS is the peer's.
  const rtattr* attribute = find_attribute(message, sizeof header, IFA_LOCAL);
  if (attribute == nullptr) attribute = find_attribute(message, sizeof header, IFA_ADDRESS);
  if (attribute == nullptr) return;
  if (const auto address = address_of(header.ifa_family, *attribute)) machine.addresses.push_back(*address);
}

void add_route(Machine& machine, const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE || message.nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return;
  const auto& header = *static_cast<const rtmsg*>(NLMSG_DATA(&message));
  if (header.rtm_table == RT_TABLE_LOCAL || header.rtm_type != RTN_UNICAST) return;
  // Half of everything each is how VPN clients write a default route.
  if (header.rtm_dst_len <= 1) {
    if (header.rtm_family == AF_INET6) machine.ipv6_default_route = true;
    return;
  }
  const rtattr* attribute = find_attribute(message, sizeof header, RTA_DST);
  if (attribute == nullptr) return;
  const auto address = address_of(header.rtm_family, *attribute);
  if (address) machine.routes.push_back(net::Cidr::of(*address, header.rtm_dst_len));
}

}  // namespace

Result<Machine> read_machine(Socket& socket) {
  Machine machine;
  Batch addresses;
  addresses.begin(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  WEIR_CHECK_OK(socket.dump(addresses, [&](const nlmsghdr& message) { add_address(machine, message); }));
  Batch routes;
  routes.begin(RTM_GETROUTE, NLM_F_DUMP, rtmsg{});
  WEIR_CHECK_OK(socket.dump(routes, [&](const nlmsghdr& message) { add_route(machine, message); }));
  return machine;
}

Result<Socket> watch_machine() {
  return Socket::open(NETLINK_ROUTE, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
}

}  // namespace weir::netlink
