// Before the kernel headers: they leave out what glibc has defined already.
#include <netinet/in.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "cli/doctor/probe.h"
#include "netlink/machine.h"
#include "sandbox/network/capture.h"
#include "sys/errno.h"
#include "sys/socket_address.h"
#include "sys/throwaway_child.h"
#include "wire/packet.h"

namespace weir::cli {
namespace {

constexpr int kPatienceMs = 2000;     // nothing here leaves the machine
constexpr int kMaxOtherPackets = 32;  // what the kernel itself may send before our SYN
constexpr std::uint16_t kPort = 80;
constexpr const char* kTun = "/dev/net/tun";

Result<> enter_network_namespace() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWNET), "cannot make a network namespace"));
  return {};
}

// Steps of the set-up that fail because the kernel has not got something, or is told not to use it.
Result<sandbox::Capture> with_capture_remedy(Result<sandbox::Capture> made) {
  if (made) return made;
  if (made.error().what().find("/proc/sys/net/ipv6") != std::string::npos) {
    return with_remedy(std::move(made), "boot without ipv6.disable=1: the capture needs both families");
  }
  switch (made.error().code()) {
    case EPROTONOSUPPORT:  // no such family of netlink
    case EOPNOTSUPP:
      return with_remedy(std::move(made), "sudo modprobe -a nf_tables nft_tproxy nft_reject_inet");
    default:
      return made;
  }
}

// A client's half of a captured connection, and the capture it ran into.
struct Attempt {
  sandbox::Capture capture;
  sys::OwnedFd client;
  std::vector<std::uint8_t> syn;
};

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

// The first SYN on the TUN that goes to `destination`.
Result<std::vector<std::uint8_t>> read_syn(const sys::OwnedFd& tun, const net::Endpoint& destination) {
  std::vector<std::uint8_t> buffer(wire::kMaxPacket);
  for (int i = 0; i < kMaxOtherPackets; ++i) {
    WEIR_CHECK_OK(wait_for(tun.get(), POLLIN, "the first SYN did not arrive on weir0"));
    const ssize_t got = ::read(tun.get(), buffer.data(), buffer.size());
    if (got < 0) return sys::errno_error("cannot read weir0");
    const Bytes bytes = Bytes(buffer).first(static_cast<std::size_t>(got));
    const auto packet = wire::parse_packet(bytes);
    if (packet && wire::classify(*packet) == wire::PacketKind::syn && packet->destination == destination.address) {
      return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
    }
  }
  return fail("other packets than the first SYN arrive on weir0");
}

// Connects from inside a fresh capture, up to the point where the gateway would ask for admission.
Result<Attempt> attempt(const net::Endpoint& destination) {
  WEIR_CHECK_OK(enter_network_namespace());
  WEIR_TRY(sandbox::Capture capture,
           with_capture_remedy(sandbox::set_up_capture(sandbox::CaptureAddresses::defaults())));
  const auto address = sys::SocketAddress::of(destination);
  const int family = address.family();
  WEIR_TRY(sys::OwnedFd client, sys::checked_fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                                "cannot open a TCP socket"));
  if (::connect(client.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    return sys::errno_error("a captured connect fails at once");
  }
  WEIR_TRY(std::vector<std::uint8_t> syn, read_syn(capture.tun, destination));
  return Attempt{.capture = std::move(capture), .client = std::move(client), .syn = std::move(syn)};
}

Result<> write_packet(const sys::OwnedFd& tun, Bytes packet, const char* what) {
  if (::write(tun.get(), packet.data(), packet.size()) == static_cast<ssize_t>(packet.size())) return {};
  return sys::errno_error(what);
}

// The address that the program meant must be what the accepted socket calls its own.
Result<> check_destination(const sys::OwnedFd& accepted, const net::Endpoint& destination) {
  sockaddr_in6 own{};
  socklen_t length = sizeof own;
  if (::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) {
    return sys::errno_error("cannot read the original destination");
  }
  // The listener is dual stack: IPv4 shows in its mapped form, which is how IpAddress holds it.
  if (std::memcmp(own.sin6_addr.s6_addr, destination.address.bytes().data(), sizeof own.sin6_addr) == 0 &&
      ntohs(own.sin6_port) == destination.port) {
    return {};
  }
  return fail("the captured connection does not know where it was going");
}

// One connection as dataplane.md section 1 has it: SYN out of the TUN, back into it, accepted, bytes over loopback.
Result<std::string> detour(const net::Endpoint& destination) {
  WEIR_TRY(const Attempt made, attempt(destination));
  WEIR_CHECK_OK(write_packet(made.capture.tun, made.syn, "cannot write the SYN back"));
  const int listener = made.capture.listener.get();
  WEIR_CHECK_OK(wait_for(listener, POLLIN, "nft_tproxy does not deliver the SYN that was written back"));
  WEIR_TRY(const sys::OwnedFd accepted,
           sys::checked_fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "cannot accept"));
  WEIR_CHECK_OK(check_destination(accepted, destination));
  WEIR_CHECK_OK(wait_for(made.client.get(), POLLOUT, "the captured connection does not stand"));
  if (::send(made.client.get(), "x", 1, MSG_NOSIGNAL) != 1) {
    return sys::errno_error("cannot send on a captured connection");
  }
  WEIR_CHECK_OK(wait_for(accepted.get(), POLLIN, "no byte arrives over the captured connection"));
  return "a connection took the detour: TUN, nft_tproxy, listener";
}

Result<> refuse(const net::Endpoint& destination) {
  WEIR_TRY(const Attempt made, attempt(destination));
  const auto packet = wire::parse_packet(made.syn);
  std::vector<std::uint8_t> buffer(wire::kMaxAnswer);
  WEIR_ASSERT(packet.has_value());  // read_syn() has seen to it
  WEIR_CHECK_OK(write_packet(made.capture.tun, wire::rst_for_syn(*packet, buffer), "cannot answer a SYN"));
  WEIR_CHECK_OK(wait_for(made.client.get(), POLLOUT, "a refused connect does not end"));
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(made.client.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
    return sys::errno_error("cannot read how a connect ended");
  }
  if (error == ECONNREFUSED) return {};
  return fail("a refused connect ends with: " + sys::errno_text(error));
}

// Documentation addresses, RFC 5737 and RFC 3849: nobody's.
net::Endpoint nobody4() {
  return {net::IpAddress::v4({192, 0, 2, 1}), kPort};
}
net::Endpoint nobody6() {
  return {net::IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), kPort};
}

Result<std::string> probe_loopback() {
  WEIR_CHECK_OK(enter_network_namespace());
  WEIR_CHECK_OK(sandbox::set_up_loopback());
  return "an empty network namespace: the modes none and inbound";
}

Result<std::string> probe_tun() {
  WEIR_CHECK_OK(enter_network_namespace());
  auto fd = sys::checked_fd(::open(kTun, O_RDWR | O_CLOEXEC), "cannot open /dev/net/tun");
  if (!fd) {
    const bool forbidden = fd.error().code() == EACCES || fd.error().code() == EPERM;
    return std::unexpected(
        std::move(fd).error().with_remedy(forbidden ? "sudo chmod 0666 /dev/net/tun" : "sudo modprobe tun"));
  }
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  WEIR_CHECK_OK(with_remedy(sys::checked(::ioctl(fd->get(), TUNSETIFF, &request), "cannot make a TUN device"),
                            "sudo modprobe tun"));
  return "/dev/net/tun opens, and makes a device";
}

Result<std::string> probe_tun_mode() {
  struct stat status{};
  WEIR_CHECK_OK(with_remedy(sys::checked(::stat(kTun, &status), "there is no /dev/net/tun"), "sudo modprobe tun"));
  if ((status.st_mode & 0006) == 0006) return "ordinary users may open /dev/net/tun";
  return std::unexpected(Error("filtered networks are for root only: others may not open /dev/net/tun")
                             .with_remedy("sudo chmod 0666 /dev/net/tun"));
}

Result<std::string> probe_detour4() {
  return detour(nobody4());
}
Result<std::string> probe_detour6() {
  return detour(nobody6());
}

Result<std::string> probe_refusal() {
  WEIR_CHECK_OK(refuse(nobody4()));
  // The second family in a namespace of its own, inside the first.
  WEIR_CHECK_OK(refuse(nobody6()));
  return "a refused connect ended at once with ECONNREFUSED, IPv4 and IPv6";
}

Result<std::string> probe_host_ipv6() {
  WEIR_TRY(netlink::Socket socket, netlink::Socket::open(NETLINK_ROUTE));
  WEIR_TRY(const netlink::Machine machine, netlink::read_machine(socket));
  if (machine.ipv6_default_route) return "the host has an IPv6 default route";
  return "the host has no IPv6 default route: names resolve to IPv4 only";
}

bool is_used(const netlink::Machine& machine, const net::Cidr& subnet) {
  return std::ranges::any_of(machine.routes, [&](const net::Cidr& route) { return route.overlaps(subnet); });
}

// Otherwise part of the machine's own networks could not be reached from inside.
Result<std::string> probe_subnet() {
  WEIR_TRY(netlink::Socket socket, netlink::Socket::open(NETLINK_ROUTE));
  WEIR_TRY(const netlink::Machine machine, netlink::read_machine(socket));
  const auto subnet = [](std::uint8_t second) { return net::Cidr::of(net::IpAddress::v4({10, second, 0, 0}), 16); };
  const net::Cidr usual = net::Cidr::of(sandbox::CaptureAddresses::defaults().guest4, 16);
  if (!is_used(machine, usual)) return "no network of the host lies in " + usual.text();
  Error error("a network of the host lies in " + usual.text() + ", which cannot be reached from inside");
  for (std::uint8_t second = 255; second > 0; --second) {
    if (!is_used(machine, subnet(second)))
      return std::unexpected(std::move(error).with_remedy("weir run --subnet " + subnet(second).text()));
  }
  return std::unexpected(std::move(error).with_remedy("weir run --subnet with a /16 that the host does not use"));
}

constexpr std::array kProbes = {
    Probe{"network namespace", Need::every_run, Footing::user_namespace, probe_loopback},
    Probe{"TUN device", Need::gateway, Footing::user_namespace, probe_tun},
    Probe{"capture IPv4", Need::gateway, Footing::user_namespace, probe_detour4},
    Probe{"capture IPv6", Need::gateway, Footing::user_namespace, probe_detour6},
    Probe{"truthful refusal", Need::gateway, Footing::user_namespace, probe_refusal},
    Probe{"TUN for everybody", Need::improvement, Footing::plain, probe_tun_mode},
    Probe{"address range", Need::improvement, Footing::plain, probe_subnet},
    Probe{"IPv6 outside", Need::feature, Footing::plain, probe_host_ipv6},
};

}  // namespace

std::span<const Probe> network_probes() {
  return kProbes;
}

}  // namespace weir::cli
