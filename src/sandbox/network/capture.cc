#include "sandbox/network/capture.h"

// Before the kernel headers: they leave out what glibc has defined already.
#include <netinet/in.h>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "netlink/nftables.h"
#include "netlink/route.h"
#include "netlink/socket.h"
#include "sys/errno.h"

namespace weir::sandbox {

namespace {

constexpr std::string_view kDevice = "weir0";
constexpr std::uint32_t kLoopback = 1;  // lo is always the first device of a namespace
// tcpmux: nothing a guest would want to serve.
constexpr std::uint16_t kListenerPort = 1;
constexpr int kBacklog = 4096;                  // 5,000 parallel connects without a dropped SYN
constexpr std::uint32_t kTxQueueLength = 8000;  // likewise
constexpr std::uint32_t kMtu = 65535;           // IPv4 UDP never fragments
constexpr std::uint32_t kCaptureTable = 100;
constexpr std::uint32_t kDetourMark = 1;
constexpr std::int32_t kMangle = -150;
constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10;

Result<> write_sysctl(const std::string& path, std::string_view value) {
  WEIR_TRY(const sys::OwnedFd fd, sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "cannot open " + path));
  if (::write(fd.get(), value.data(), value.size()) < 0)
    return sys::errno_error("cannot write " + std::string(value) + " to " + path);
  return {};
}

struct Sysctl {
  const char* path;
  const char* value;
  enum class Presence : std::uint8_t { always, newer_kernels } presence = Presence::always;
};

// A new namespace copies the host's settings: what the capture depends on is set here, one by one (dataplane.md 1).
constexpr std::array kSysctls = {
    Sysctl{"ipv4/conf/all/rp_filter", "0"},
    Sysctl{"ipv4/conf/weir0/rp_filter", "0"},
    Sysctl{"ipv4/conf/weir0/accept_local", "1"},
    Sysctl{"ipv6/conf/weir0/accept_ra", "0"},
    Sysctl{"ipv6/conf/weir0/router_solicitations", "0"},
    Sysctl{"ipv4/tcp_congestion_control", "reno"},
    Sysctl{"ipv4/tcp_syncookies", "0"},
    Sysctl{"ipv4/tcp_orphan_retries", "2"},
    Sysctl{"ipv4/tcp_syn_linear_timeouts", "0", Sysctl::Presence::newer_kernels},  // since 6.5
    Sysctl{"ipv4/tcp_syn_retries", "4"},
    Sysctl{"ipv4/ip_unprivileged_port_start", "0"},
};

Result<> set_sysctls() {
  for (const Sysctl& sysctl : kSysctls) {
    const auto written = write_sysctl(std::string("/proc/sys/net/") + sysctl.path, sysctl.value);
    if (written) continue;
    if (sysctl.presence == Sysctl::Presence::newer_kernels && written.error().code() == ENOENT) continue;
    return std::unexpected(written.error());
  }
  return {};
}

// Ping sockets for everybody inside: what they send arrives on weir0 like everything else. Both ends of the range must
// be mapped; a sandbox of an ordinary user has one group only.
Result<> allow_ping_sockets() {
  const std::string path = "/proc/sys/net/ipv4/ping_group_range";
  if (write_sysctl(path, "0 65535")) return {};
  const std::string group = std::to_string(::getegid());
  return write_sysctl(path, group + " " + group);
}

struct Tun {
  sys::OwnedFd fd;
  std::uint32_t link = 0;
};

Result<Tun> make_tun() {
  auto fd = sys::checked_fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "cannot open /dev/net/tun");
  if (!fd) {
    const bool forbidden = fd.error().code() == EACCES || fd.error().code() == EPERM;
    return std::unexpected(std::move(fd).error().with_remedy(
        forbidden ? "sudo chmod 0666 /dev/net/tun (Debian's default)" : "sudo modprobe tun"));
  }
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::memcpy(request.ifr_name, kDevice.data(), kDevice.size());
  if (::ioctl(fd->get(), TUNSETIFF, &request) != 0) return sys::errno_error("cannot make the TUN device weir0");
  // Persistent, so that closing the last descriptor only detaches it: unregistering a device waits for an RCU grace
  // period (tens of milliseconds, in whoever closes). The namespace takes it along when it dies, in a kernel worker.
  if (::ioctl(fd->get(), TUNSETPERSIST, 1) != 0) return sys::errno_error("cannot make weir0 part of its namespace");
  const sys::OwnedFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any.valid() || ::ioctl(any.get(), SIOCGIFINDEX, &request) != 0)
    return sys::errno_error("cannot find the index of weir0");
  return Tun{std::move(*fd), static_cast<std::uint32_t>(request.ifr_ifindex)};
}

Result<> add_addresses(netlink::Socket& route, const CaptureAddresses& addresses, std::uint32_t link) {
  netlink::Batch batch;
  netlink::set_link_up(batch, kLoopback);
  netlink::set_link(batch, link, {.mtu = kMtu, .tx_queue_length = kTxQueueLength});
  // What waits for the gateway waits in the device, whose ring has that length.
  netlink::leave_out_queue(batch, link);
  netlink::set_link_up(batch, link);
  netlink::add_address(batch, link, addresses.guest4, 30);
  netlink::add_address(batch, link, addresses.guest6, 126);
  return in_context(route.transact(batch), "cannot configure weir0");
}

Result<> add_routes(netlink::Socket& route, const CaptureAddresses& addresses, std::uint32_t link) {
  using netlink::Family;
  using netlink::Rule;
  netlink::Batch batch;
  for (const Family family : {Family::v4, Family::v6}) {
    netlink::add_default_route(batch, family, link);
    netlink::add_rule(batch, family, {.priority = 10, .table = RT_TABLE_MAIN, .mark = kDetourMark});
    netlink::add_rule(batch, family, {.priority = 20, .table = kCaptureTable, .tcp_only = true});
  }
  // A socket bound to loopback that connects outward fails at once, as it would without weir.
  netlink::add_rule(
      batch, Family::v4,
      {.priority = 15, .table = RT_TABLE_MAIN, .source = *net::Cidr::parse("127.0.0.0/8"), .tcp_only = true});
  netlink::add_rule(
      batch, Family::v6,
      {.priority = 15, .action = Rule::Action::unreachable, .source = *net::Cidr::parse("::1/128"), .tcp_only = true});
  netlink::add_local_default_route(batch, link, addresses.guest4, kCaptureTable);
  netlink::add_local_default_route(batch, link, addresses.guest6, kCaptureTable);
  return in_context(route.transact(batch), "cannot route through weir0");
}

constexpr std::array<std::uint8_t, 16> kAllOnes = {255, 255, 255, 255, 255, 255, 255, 255,
                                                   255, 255, 255, 255, 255, 255, 255, 255};

void accept_destination4(netlink::NftTransaction& nft, const net::Cidr& block) {
  constexpr std::uint32_t kDestinationOffset = 16;  // RFC 791 3.1
  const auto base = block.base().v4_octets();
  const std::array<std::uint8_t, 4> loopback_mask = {255, 0, 0, 0};
  nft.begin_rule("out");
  nft.match_family(NFPROTO_IPV4);
  nft.match_network(kDestinationOffset, block.is_single() ? Bytes(kAllOnes).first(4) : Bytes(loopback_mask), base);
  nft.accept();
  nft.end_rule();
}

void accept_destination6(netlink::NftTransaction& nft, const net::IpAddress& address) {
  constexpr std::uint32_t kDestinationOffset = 24;  // RFC 8200 3
  nft.begin_rule("out");
  nft.match_family(NFPROTO_IPV6);
  nft.match_network(kDestinationOffset, kAllOnes, address.bytes());
  nft.accept();
  nft.end_rule();
}

void match_tcp_flags(netlink::NftTransaction& nft, std::uint8_t mask, std::uint8_t value) {
  constexpr std::uint32_t kFlagsOffset = 13;  // RFC 9293 3.1
  nft.match_l4(IPPROTO_TCP);
  nft.match_transport(kFlagsOffset, {&mask, 1}, {&value, 1});
}

}  // namespace

Result<> install_capture_rules(const CaptureAddresses& addresses) {
  WEIR_TRY(netlink::Socket netfilter, netlink::Socket::open(NETLINK_NETFILTER));
  netlink::NftTransaction nft("weir");
  nft.add_chain("out", "route", NF_INET_LOCAL_OUT, kMangle);
  nft.add_chain("pre", "filter", NF_INET_PRE_ROUTING, kMangle);
  nft.add_chain("in", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER);

  // Only a first SYN, which has no ACK, is looked for below: every other segment costs one comparison.
  nft.begin_rule("out");
  match_tcp_flags(nft, kAck, kAck);
  nft.accept();
  nft.end_rule();
  accept_destination4(nft, *net::Cidr::parse("127.0.0.0/8"));
  accept_destination4(nft, net::Cidr::single(addresses.guest4));
  accept_destination6(nft, *net::IpAddress::parse("::1"));
  accept_destination6(nft, addresses.guest6);
  nft.begin_rule("out");
  match_tcp_flags(nft, kSyn | kAck, kSyn);
  nft.set_mark(kDetourMark);
  nft.end_rule();

  nft.begin_rule("pre");
  nft.match_input_name(kDevice);
  match_tcp_flags(nft, kFin | kSyn | kRst | kAck, kSyn);
  nft.tproxy_to(kListenerPort);
  nft.end_rule();

  // Without this a guest reaches the listener on a loopback address.
  constexpr std::array<std::uint8_t, 2> kAnyPort = {255, 255};
  constexpr std::array<std::uint8_t, 2> kPort = {kListenerPort >> 8, kListenerPort & 0xff};
  nft.begin_rule("in");
  match_tcp_flags(nft, kSyn | kAck, kSyn);
  nft.match_input_name("lo");
  nft.match_transport(2, kAnyPort, kPort);
  nft.reject_with_tcp_reset();
  nft.end_rule();
  auto installed = netfilter.transact(nft.commit());
  if (installed) return {};
  return std::unexpected(std::move(installed)
                             .error()
                             .context("cannot install the capture rules")
                             .with_remedy("sudo modprobe -a nf_tables nft_tproxy nft_reject_inet"));
}

namespace {

Result<> set_option(const sys::OwnedFd& fd, int level, int option, int value, const char* name) {
  if (::setsockopt(fd.get(), level, option, &value, sizeof value) == 0) return {};
  return sys::errno_error(std::string("cannot set ") + name + " on the capture listener");
}

Result<sys::OwnedFd> make_listener() {
  WEIR_TRY(sys::OwnedFd fd, sys::checked_fd(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                            "cannot open the capture listener"));
  WEIR_CHECK_OK(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, "IPV6_V6ONLY"));
  WEIR_CHECK_OK(set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"));
  WEIR_CHECK_OK(set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"));
  WEIR_CHECK_OK(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
  // Inherited by every accepted socket: until an orderly close clears it, the death of the gateway is a reset, never a
  // clean end of stream (dataplane.md 6).
  const linger reset_on_close{.l_onoff = 1, .l_linger = 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close) != 0) {
    return sys::errno_error("cannot set SO_LINGER on the capture listener");
  }
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(kListenerPort);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return sys::errno_error("cannot listen for captured connections");
  }
  return fd;
}

}  // namespace

CaptureAddresses CaptureAddresses::defaults() {
  return in(net::Cidr::of(net::IpAddress::v4({10, 254, 0, 0}), 16));
}

CaptureAddresses CaptureAddresses::in(const net::Cidr& subnet) {
  const auto address = [base = subnet.base().v4_octets()](std::uint8_t last) {
    return net::IpAddress::v4({base[0], base[1], 0, last});
  };
  return {.guest4 = address(2),
          .gateway4 = address(1),
          .guest6 = *net::IpAddress::parse("fd77:6569:7200::2"),
          .gateway6 = *net::IpAddress::parse("fd77:6569:7200::1"),
          .host4 = address(5),
          .host6 = *net::IpAddress::parse("fd77:6569:7200::5")};
}

Result<Capture> set_up_capture(const CaptureAddresses& addresses) {
  WEIR_TRY(Tun tun, make_tun());
  WEIR_TRY(netlink::Socket route, netlink::Socket::open(NETLINK_ROUTE));
  WEIR_CHECK_OK(add_addresses(route, addresses, tun.link));
  WEIR_CHECK_OK(add_routes(route, addresses, tun.link));
  WEIR_CHECK_OK(set_sysctls());
  WEIR_CHECK_OK(allow_ping_sockets());
  WEIR_CHECK_OK(install_capture_rules(addresses));
  WEIR_TRY(sys::OwnedFd listener, make_listener());
  return Capture{.listener = std::move(listener), .tun = std::move(tun.fd)};
}

Result<> set_up_loopback() {
  WEIR_TRY(netlink::Socket route, netlink::Socket::open(NETLINK_ROUTE));
  netlink::Batch batch;
  netlink::set_link_up(batch, kLoopback);
  return in_context(route.transact(batch), "cannot bring up the loopback device");
}

}  // namespace weir::sandbox
