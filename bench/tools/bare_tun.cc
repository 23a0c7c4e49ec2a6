// bare_tun [echo=socket|self] [report=FILE] -- COMMAND...
//
// The control for datagrams: runs a command in a network namespace whose only way out is a TUN device; here one loop
// reads a packet and sends its payload through a connected socket, reads a datagram and writes a packet. No policy, no
// record, no batches, no second process. Echo requests go through a ping socket, or (echo=self) are answered here: the
// shortest echo that a TUN device can give.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <vector>

#include "inside.h"
#include "netlink/route.h"
#include "netlink/socket.h"
#include "sys/errno.h"
#include "wire/packet.h"

namespace weir::bench {
namespace {

constexpr std::uint32_t kLoopback = 1;
constexpr int kPacketsPerTurn = 64;
constexpr net::IpAddress kGuest = net::IpAddress::v4({10, 254, 0, 2});

Result<sys::OwnedFd> make_device(std::uint32_t& link) {
  WEIR_TRY(sys::OwnedFd fd,
           sys::checked_fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "cannot open /dev/net/tun"));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  ::memcpy(request.ifr_name, "bare0", 6);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return sys::errno_error("cannot make a TUN device");
  link = ::if_nametoindex(request.ifr_name);
  return fd;
}

// The MTU and the queue of weir0.
Result<sys::OwnedFd> set_up_tun() {
  std::uint32_t link = 0;
  WEIR_TRY(sys::OwnedFd fd, make_device(link));
  WEIR_TRY(netlink::Socket route, netlink::Socket::open(NETLINK_ROUTE));
  netlink::Batch batch;
  netlink::set_link_up(batch, kLoopback);
  netlink::set_link(batch, link, {.mtu = wire::kMaxPacket, .tx_queue_length = 8000});
  netlink::leave_out_queue(batch, link);
  netlink::set_link_up(batch, link);
  netlink::add_address(batch, link, kGuest, 30);
  netlink::add_default_route(batch, netlink::Family::v4, link);
  WEIR_CHECK_OK(in_context(route.transact(batch), "cannot set up the TUN device"));
  std::ofstream("/proc/sys/net/ipv4/ping_group_range") << "0 0" << std::flush;
  return fd;
}

// One socket per destination and source port, or echo identifier.
struct Key {
  net::Protocol protocol = net::Protocol::udp;
  net::Endpoint guest;
  net::Endpoint destination;

  friend auto operator<=>(const Key&, const Key&) = default;
};

class Loop {
 public:
  enum class Echo : std::uint8_t { socket, self };

  Loop(sys::OwnedFd tun, const sys::ChildProcess& child, Echo echo)
      : tun_(std::move(tun)), echo_(echo), in_(wire::kMaxPacket + 1), out_(wire::kMaxPacket) {
    poller_.add(child.pidfd(), EPOLLIN, kChild);
    poller_.add(tun_.get(), EPOLLIN, kTun);
  }

  // Until the child ends.
  void run() {
    for (;;) {
      for (const auto& event : poller_.wait(-1)) {
        if (event.id == kChild) return;
        for (int i = 0; i < kPacketsPerTurn && (event.id == kTun ? from_guest() : from_peer(event.id - kFirstFlow));
             ++i) {
        }
      }
    }
  }

  std::size_t flows() const { return flows_.size(); }

 private:
  static constexpr std::uint64_t kChild = 0;
  static constexpr std::uint64_t kTun = 1;
  static constexpr std::uint64_t kFirstFlow = 2;

  struct Flow {
    Key key;
    sys::OwnedFd socket;
  };

  bool from_guest() {
    const ssize_t size = ::read(tun_.get(), in_.data(), in_.size());
    if (size <= 0) return false;
    const auto packet = wire::parse_packet(Bytes(in_).first(static_cast<std::size_t>(size)));
    if (!packet) return true;
    if (const auto udp = wire::parse_udp(*packet)) {
      forward({.protocol = net::Protocol::udp,
               .guest = {packet->source, udp->source_port},
               .destination = {packet->destination, udp->destination_port}},
              udp->payload);
    } else if (const auto echo = wire::parse_echo_request(*packet)) {
      if (echo_ == Echo::self) {
        write(wire::icmp_echo_reply(packet->destination, packet->source, *echo, out_));
      } else {
        forward({.protocol = net::Protocol::icmp,
                 .guest = {packet->source, echo->identifier},
                 .destination = {packet->destination, 0}},
                packet->upper);
      }
    }
    return true;
  }

  void forward(const Key& key, Bytes message) {
    auto found = numbers_.find(key);
    if (found == numbers_.end()) found = numbers_.emplace(key, open(key)).first;
    [[maybe_unused]] const ssize_t sent =
        ::send(flows_[found->second].socket.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  std::size_t open(const Key& key) {
    const auto target = sys::SocketAddress::of(key.destination);
    const int protocol = key.protocol == net::Protocol::udp ? IPPROTO_UDP : IPPROTO_ICMP;
    sys::OwnedFd fd(::socket(target.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
    if (!fd.valid() || ::connect(fd.get(), target.get(), target.size) != 0) die_errno("cannot connect");
    poller_.add(fd.get(), EPOLLIN, flows_.size() + kFirstFlow);
    flows_.push_back({key, std::move(fd)});
    return flows_.size() - 1;
  }

  bool from_peer(std::size_t index) {
    const Flow& flow = flows_[index];
    const ssize_t size = ::recv(flow.socket.get(), in_.data(), in_.size(), MSG_DONTWAIT);
    if (size < 0) return false;
    const Bytes message = Bytes(in_).first(static_cast<std::size_t>(size));
    const auto& [protocol, guest, destination] = flow.key;
    if (protocol == net::Protocol::udp) {
      write(wire::udp_packet(destination, guest, message, out_));
    } else if (auto echo = wire::parse_echo_reply(message, 4)) {
      echo->identifier = guest.port;
      write(wire::icmp_echo_reply(destination.address, guest.address, *echo, out_));
    }
    return true;
  }

  void write(Bytes packet) {
    [[maybe_unused]] const ssize_t written = ::write(tun_.get(), packet.data(), packet.size());
  }

  sys::OwnedFd tun_;
  Echo echo_;
  Poller poller_;
  std::vector<std::uint8_t> in_;
  std::vector<std::uint8_t> out_;
  std::vector<Flow> flows_;
  std::map<Key, std::size_t> numbers_;
};

int run(const Arguments& arguments) {
  Inside inside = start_inside(arguments, set_up_tun);
  Loop loop(std::move(inside.fd), inside.child,
            arguments.text("echo", "socket") == "self" ? Loop::Echo::self : Loop::Echo::socket);
  loop.run();
  const std::string report = arguments.text("report", "");
  if (!report.empty()) {
    JsonWriter json;
    std::ofstream(report) << json.begin_object().field("flows", std::uint64_t{loop.flows()}).end_object().text()
                          << "\n";
  }
  return exit_code(inside.child);
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  if (arguments.command.empty()) die("usage: bare_tun [echo=socket|self] [report=FILE] -- COMMAND...");
  return run(arguments);
}
