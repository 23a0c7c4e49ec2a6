#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "cli/doctor/probe.h"
#include "netlink/machine.h"
#include "sandbox/capture.h"
#include "sys/errno.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

constexpr int kPatienceMs = 2000;           // nothing here leaves the machine
constexpr std::size_t kMaxPacket = 65'535;  // the MTU of weir0
constexpr int kMaxOtherPackets = 32;        // what the kernel itself may send before our SYN
constexpr std::uint16_t kPort = 80;

Result<> enter_network_namespace() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWNET), "cannot make a network namespace"));
  return {};
}

struct Destination {
  sockaddr_storage address{};
  socklen_t length = 0;
  std::size_t packet_offset = 0;  // of the destination address in a packet
  std::array<std::uint8_t, 16> bytes{};
  std::size_t byte_count = 0;
};

// 192.0.2.1 (RFC 5737): nobody's.
Destination destination4() {
  Destination destination;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  address.sin_addr.s_addr = htonl(0xc0000201);
  std::memcpy(&destination.address, &address, sizeof address);
  std::memcpy(destination.bytes.data(), &address.sin_addr, 4);
  destination.length = sizeof address;
  destination.packet_offset = 16;  // RFC 791 3.1
  destination.byte_count = 4;
  return destination;
}

// 2001:db8::1 (RFC 3849): nobody's.
Destination destination6() {
  Destination destination;
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kPort);
  address.sin6_addr = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};
  std::memcpy(&destination.address, &address, sizeof address);
  std::memcpy(destination.bytes.data(), &address.sin6_addr, 16);
  destination.length = sizeof address;
  destination.packet_offset = 24;  // RFC 8200 3
  destination.byte_count = 16;
  return destination;
}

Result<> wait_for(int fd, short events, const char* what) {
  pollfd waiting{.fd = fd, .events = events, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, kPatienceMs);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return sys::errno_error(what);
  if (ready == 0) return fail(std::string(what) + ": nothing within " + std::to_string(kPatienceMs) + " ms");
  return {};
}

// The first packet on the TUN that goes to `destination`.
Result<std::string> read_syn(const sys::OwnedFd& tun, const Destination& destination) {
  std::string packet;
  for (int i = 0; i < kMaxOtherPackets; ++i) {
    WEIR_CHECK_OK(wait_for(tun.get(), POLLIN, "the first SYN did not arrive on weir0"));
    packet.resize(kMaxPacket);
    const ssize_t got = ::read(tun.get(), packet.data(), packet.size());
    if (got < 0) return sys::errno_error("cannot read weir0");
    packet.resize(static_cast<std::size_t>(got));
    const std::string_view wanted(reinterpret_cast<const char*>(destination.bytes.data()), destination.byte_count);
    if (packet.size() >= destination.packet_offset + wanted.size() &&
        packet.compare(destination.packet_offset, wanted.size(), wanted) == 0) {
      return packet;
    }
  }
  return fail("other packets than the first SYN arrive on weir0");
}

// The address that the program meant must be what the accepted socket calls its own.
Result<> check_destination(const sys::OwnedFd& accepted, const Destination& destination) {
  sockaddr_in6 own{};
  socklen_t length = sizeof own;
  if (::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) {
    return sys::errno_error("cannot read the original destination");
  }
  const std::size_t skipped = 16 - destination.byte_count;  // a dual-stack listener shows IPv4 in its mapped form
  if (std::memcmp(own.sin6_addr.s6_addr + skipped, destination.bytes.data(), destination.byte_count) != 0 ||
      ntohs(own.sin6_port) != kPort) {
    return fail("the captured connection does not know where it was going");
  }
  return {};
}

// One connection as dataplane.md section 1 has it: SYN out of the TUN, back into it, accepted, bytes over loopback.
Result<std::string> detour(const Destination& destination) {
  WEIR_CHECK_OK(enter_network_namespace());
  WEIR_TRY(const sandbox::Capture capture, sandbox::set_up_capture(sandbox::CaptureAddresses::defaults()));
  const int family = destination.address.ss_family;
  WEIR_TRY(const sys::OwnedFd client, sys::checked_fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                                      "cannot open a TCP socket"));
  const auto* address = reinterpret_cast<const sockaddr*>(&destination.address);
  if (::connect(client.get(), address, destination.length) != 0 && errno != EINPROGRESS) {
    return sys::errno_error("a captured connect fails at once");
  }
  WEIR_TRY(const std::string syn, read_syn(capture.tun, destination));
  if (::write(capture.tun.get(), syn.data(), syn.size()) != static_cast<ssize_t>(syn.size())) {
    return sys::errno_error("cannot write the SYN back");
  }
  WEIR_CHECK_OK(
      in_context(wait_for(capture.listener.get(), POLLIN, "the SYN that was written back is not delivered"), "tproxy"));
  WEIR_TRY(const sys::OwnedFd accepted,
           sys::checked_fd(::accept4(capture.listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "cannot accept"));
  WEIR_CHECK_OK(check_destination(accepted, destination));
  WEIR_CHECK_OK(wait_for(client.get(), POLLOUT, "the captured connection does not stand"));
  if (::send(client.get(), "x", 1, MSG_NOSIGNAL) != 1) return sys::errno_error("cannot send on a captured connection");
  WEIR_CHECK_OK(wait_for(accepted.get(), POLLIN, "no byte arrives over the captured connection"));
  return "a connection took the detour: TUN, nft_tproxy, listener";
}

}  // namespace

Result<std::string> probe_loopback() {
  WEIR_CHECK_OK(enter_network_namespace());
  WEIR_CHECK_OK(sandbox::set_up_loopback());
  return "an empty network namespace: the modes none and inbound";
}

Result<std::string> probe_tun() {
  WEIR_CHECK_OK(enter_network_namespace());
  auto fd = sys::checked_fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC), "cannot open /dev/net/tun");
  if (fd) return "/dev/net/tun opens";
  const bool forbidden = fd.error().code() == EACCES || fd.error().code() == EPERM;
  return std::unexpected(
      std::move(fd).error().with_remedy(forbidden ? "sudo chmod 0666 /dev/net/tun" : "sudo modprobe tun"));
}

Result<std::string> probe_detour4() {
  return detour(destination4());
}
Result<std::string> probe_detour6() {
  return detour(destination6());
}

Result<std::string> probe_host_ipv6() {
  WEIR_TRY(netlink::Socket socket, netlink::Socket::open(NETLINK_ROUTE));
  WEIR_TRY(const netlink::Machine machine, netlink::read_machine(socket));
  if (machine.ipv6_default_route) return "the host has an IPv6 default route";
  return "the host has no IPv6 default route: names resolve to IPv4 only";
}

}  // namespace weir::cli
