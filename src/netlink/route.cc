#include "netlink/route.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace weir::netlink {

namespace {

constexpr std::uint16_t kCreate = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

std::uint8_t number_of(Family family) {
  return family == Family::v4 ? AF_INET : AF_INET6;
}

void address_attribute(Batch& batch, std::uint16_t type, const net::IpAddress& address) {
  if (address.is_v4()) {
    batch.attribute(type, address.v4_octets());
  } else {
    batch.attribute(type, address.bytes());
  }
}

rtmsg route_header(std::uint8_t family, std::uint8_t type, std::uint8_t scope) {
  rtmsg route{};
  route.rtm_family = family;
  route.rtm_protocol = RTPROT_BOOT;
  route.rtm_type = type;
  route.rtm_scope = scope;
  return route;
}

}  // namespace

void set_link(Batch& batch, std::uint32_t link, const LinkSettings& settings) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(link);
  batch.begin(RTM_NEWLINK, NLM_F_ACK, header);
  batch.u32(IFLA_MTU, settings.mtu);
  batch.u32(IFLA_TXQLEN, settings.tx_queue_length);
  const auto families = batch.open(IFLA_AF_SPEC);
  const auto inet6 = batch.open(AF_INET6);
  batch.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  batch.close(inet6);
  batch.close(families);
}

void leave_out_queue(Batch& batch, std::uint32_t link) {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(link);
  header.tcm_parent = TC_H_ROOT;
  batch.begin(RTM_NEWQDISC, kCreate, header);
  batch.string(TCA_KIND, "noqueue");
}

void set_link_up(Batch& batch, std::uint32_t link) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(link);
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  batch.begin(RTM_NEWLINK, NLM_F_ACK, header);
}

void add_address(Batch& batch, std::uint32_t link, net::IpAddress address, unsigned prefix_length) {
  ifaddrmsg header{};
  header.ifa_family = address.is_v4() ? AF_INET : AF_INET6;
  header.ifa_prefixlen = static_cast<std::uint8_t>(prefix_length);
  header.ifa_index = link;
  header.ifa_flags = address.is_v4() ? 0 : IFA_F_NODAD;
  batch.begin(RTM_NEWADDR, kCreate, header);
  address_attribute(batch, IFA_LOCAL, address);
  address_attribute(batch, IFA_ADDRESS, address);
}

void add_default_route(Batch& batch, Family family, std::uint32_t link) {
  batch.begin(RTM_NEWROUTE, kCreate,
              route_header(number_of(family), RTN_UNICAST, family == Family::v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE));
  batch.u32(RTA_TABLE, RT_TABLE_MAIN);
  batch.u32(RTA_OIF, link);
}

void add_local_default_route(Batch& batch, std::uint32_t link, net::IpAddress source, std::uint32_t table) {
  const Family family = source.is_v4() ? Family::v4 : Family::v6;
  batch.begin(RTM_NEWROUTE, kCreate,
              route_header(number_of(family), RTN_LOCAL, family == Family::v4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE));
  batch.u32(RTA_TABLE, table);
  batch.u32(RTA_OIF, link);
  address_attribute(batch, RTA_PREFSRC, source);
}

void add_rule(Batch& batch, Family family, const Rule& rule) {
  fib_rule_hdr header{};
  header.family = number_of(family);
  header.action = rule.action == Rule::Action::lookup ? FR_ACT_TO_TBL : FR_ACT_UNREACHABLE;
  header.src_len = rule.source ? static_cast<std::uint8_t>(rule.source->length()) : std::uint8_t{0};
  batch.begin(RTM_NEWRULE, kCreate, header);
  batch.u32(FRA_PRIORITY, rule.priority);
  if (rule.action == Rule::Action::lookup) batch.u32(FRA_TABLE, rule.table);
  if (rule.source) address_attribute(batch, FRA_SRC, rule.source->base());
  if (rule.mark) batch.u32(FRA_FWMARK, *rule.mark);
  if (rule.tcp_only) batch.u8(FRA_IP_PROTO, IPPROTO_TCP);
}

}  // namespace weir::netlink
