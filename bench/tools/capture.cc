#include "capture.h"

#include <netinet/in.h>

#include <fcntl.h>
#include <linux/netfilter.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "netlink/nftables.h"
#include "netlink/route.h"
#include "netlink/socket.h"
#include "sys/errno.h"

namespace weir::bench {
namespace {

constexpr std::uint32_t kLoopback = 1;
constexpr std::uint16_t kPort = 1;
constexpr int kBacklog = 4096;
constexpr std::uint32_t kTable = 100;
constexpr std::int32_t kMangle = -150;
constexpr net::IpAddress kGuest = net::IpAddress::v4({10, 254, 0, 2});

Result<> route_everything_to_loopback() {
  WEIR_TRY(netlink::Socket route, netlink::Socket::open(NETLINK_ROUTE));
  netlink::Batch batch;
  netlink::set_link_up(batch, kLoopback);
  netlink::add_address(batch, kLoopback, kGuest, 32);
  netlink::add_rule(batch, netlink::Family::v4, {.priority = 20, .table = kTable, .tcp_only = true});
  netlink::add_local_default_route(batch, kLoopback, kGuest, kTable);
  return in_context(route.transact(batch), "cannot route everything to loopback");
}

Result<> steer_connects_to_the_listener() {
  constexpr std::uint8_t kMask = 0x17;  // FIN, SYN, RST, ACK
  constexpr std::uint8_t kSyn = 0x02;
  WEIR_TRY(netlink::Socket netfilter, netlink::Socket::open(NETLINK_NETFILTER));
  netlink::NftTransaction nft("bare");
  nft.add_chain("pre", "filter", NF_INET_PRE_ROUTING, kMangle);
  nft.begin_rule("pre");
  nft.match_input_name("lo");
  nft.match_l4(IPPROTO_TCP);
  nft.match_transport(13, {&kMask, 1}, {&kSyn, 1});
  nft.tproxy_to(kPort);
  nft.end_rule();
  return in_context(netfilter.transact(nft.commit()), "cannot install the tproxy rule");
}

// The one setting of weir's capture that changes speed: loopback needs no pacing and no cubic.
Result<> use_reno() {
  WEIR_TRY(const sys::OwnedFd fd,
           sys::checked_fd(::open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY | O_CLOEXEC),
                           "cannot open the congestion control setting"));
  if (::write(fd.get(), "reno", 4) != 4) return sys::errno_error("cannot set the congestion control to reno");
  return {};
}

}  // namespace

Result<sys::OwnedFd> set_up_plain_capture() {
  WEIR_CHECK_OK(use_reno());
  WEIR_CHECK_OK(route_everything_to_loopback());
  WEIR_CHECK_OK(steer_connects_to_the_listener());
  WEIR_TRY(sys::OwnedFd fd,
           sys::checked_fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "cannot open a listener"));
  const int on = 1;
  if (::setsockopt(fd.get(), IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) != 0 ||
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
    return sys::errno_error("cannot make the listener transparent");
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(kPort);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || ::listen(fd.get(), kBacklog) != 0)
    return sys::errno_error("cannot listen");
  return fd;
}

}  // namespace weir::bench
