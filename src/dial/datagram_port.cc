#include "dial/datagram_port.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "sys/errno.h"

namespace weir::dial {

namespace {

Result<> set(int socket, int level, int option, int value) {
  if (::setsockopt(socket, level, option, &value, sizeof value) == 0) return {};
  return sys::errno_error("cannot prepare a socket");
}

Result<sys::OwnedFd> open_for(const sys::SocketAddress& address) {
  WEIR_TRY(sys::OwnedFd socket,
           sys::checked_fd(::socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                           "cannot open a socket"));
  // [::] is every IPv6 address; 0.0.0.0 is published on its own.
  if (address.family() == AF_INET6) WEIR_CHECK_OK(set(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1));
  return socket;
}

Result<> attach(int socket, int option, std::vector<sock_filter> code) {
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (::setsockopt(socket, SOL_SOCKET, option, &program, sizeof program) == 0) return {};
  return sys::errno_error("cannot prepare a socket");
}

// Of the unconnected sockets of a port, the first: the port's own. Without it the kernel would choose among them.
Result<> choose_the_first(int port) {
  return attach(port, SO_ATTACH_REUSEPORT_CBPF, {BPF_STMT(BPF_RET | BPF_K, 0)});
}

// Only what comes from this address and port. The program sees the UDP header, and the IP header at SKF_NET_OFF.
std::vector<sock_filter> only_from(const net::Endpoint& client) {
  constexpr std::uint32_t kSource4 = 12;
  constexpr std::uint32_t kSource6 = 8;
  std::vector<std::uint32_t> words;
  if (client.address.is_v4()) {
    words.push_back(client.address.v4_bits());
  } else {
    const auto& bytes = client.address.bytes();
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      words.push_back(std::uint32_t{bytes[i]} << 24 | std::uint32_t{bytes[i + 1]} << 16 |
                      std::uint32_t{bytes[i + 2]} << 8 | bytes[i + 3]);
    }
  }
  std::uint32_t offset = static_cast<std::uint32_t>(SKF_NET_OFF) + (client.address.is_v4() ? kSource4 : kSource6);
  std::vector<sock_filter> code = {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, client.port, 1, 0),
                                   BPF_STMT(BPF_RET | BPF_K, 0)};
  for (const std::uint32_t word : words) {
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, word, 1, 0));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
    offset += 4;
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, ~0u));
  return code;
}

std::uint32_t scope_of(const sys::SocketAddress& address) {
  if (address.family() != AF_INET6) return 0;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address.storage, sizeof v6);
  return v6.sin6_scope_id;
}

// The address that a datagram was sent to, with the port's number. nullopt: it is not one of this machine's own, but a
// group's.
std::optional<sys::SocketAddress> local_of(msghdr& header, const sys::SocketAddress& bound) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    sys::SocketAddress local = bound;
    if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(item), sizeof info);
      if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr) return std::nullopt;
      std::memcpy(reinterpret_cast<std::uint8_t*>(&local.storage) + offsetof(sockaddr_in, sin_addr), &info.ipi_addr,
                  sizeof info.ipi_addr);
      return local;
    }
    if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(item), sizeof info);
      if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) return std::nullopt;
      sockaddr_in6 v6{};
      std::memcpy(&v6, &local.storage, sizeof v6);
      v6.sin6_addr = info.ipi6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) v6.sin6_scope_id = info.ipi6_ifindex;
      std::memcpy(&local.storage, &v6, sizeof v6);
      return local;
    }
  }
  return std::nullopt;
}

// While it lives, a socket of this user that asks for it may be bound to the port.
class Shared {
 public:
  explicit Shared(int port) : port_(port) { share(1); }
  ~Shared() { share(0); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

 private:
  void share(int value) const { ::setsockopt(port_, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value); }
  int port_;
};

// Many may speak for the first time at once. As far as the machine allows (net.core.rmem_max).
constexpr int kFirstDatagrams = 1 << 20;

// A port's own socket: it says where a datagram was sent to.
Result<> prepare_port(int socket, int family) {
  static_cast<void>(set(socket, SOL_SOCKET, SO_RCVBUF, kFirstDatagrams));
  return family == AF_INET ? set(socket, IPPROTO_IP, IP_PKTINFO, 1) : set(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

}  // namespace

std::uint32_t Sender::link() const {
  return scope_of(client);
}

// The program is attached before it is bound, while it may be shared; it is bound when it may not.
Result<sys::OwnedFd> bind_datagrams(const net::Endpoint& at) {
  const auto address = sys::SocketAddress::of(at);
  WEIR_TRY(sys::OwnedFd socket, open_for(address));
  WEIR_CHECK_OK(prepare_port(socket.get(), address.family()));
  WEIR_CHECK_OK(set(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1));
  WEIR_CHECK_OK(choose_the_first(socket.get()));
  WEIR_CHECK_OK(set(socket.get(), SOL_SOCKET, SO_REUSEPORT, 0));
  if (::bind(socket.get(), address.get(), address.size) != 0) return sys::errno_error("bind");
  return socket;
}

// The kernel lets nobody share a port who has such a program already: here it comes afterwards.
Result<sys::OwnedFd> bind_beside(int every, const sys::SocketAddress& local) {
  WEIR_TRY(sys::OwnedFd socket, open_for(local));
  WEIR_CHECK_OK(prepare_port(socket.get(), local.family()));
  WEIR_CHECK_OK(set(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1));
  const Shared shared(every);
  if (::bind(socket.get(), local.get(), local.size) != 0) return sys::errno_error("cannot share the published port");
  WEIR_CHECK_OK(choose_the_first(socket.get()));
  WEIR_CHECK_OK(set(socket.get(), SOL_SOCKET, SO_REUSEPORT, 0));
  return socket;
}

Head look(int port) {
  sys::SocketAddress bound;
  if (::getsockname(port, bound.get(), &bound.size) != 0) return {};
  Head head;
  alignas(cmsghdr) std::array<std::uint8_t, 256> control;
  msghdr header{};
  header.msg_name = head.sender.client.get();
  header.msg_namelen = head.sender.client.size;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  // No room for any byte of it.
  if (::recvmsg(port, &header, MSG_PEEK | MSG_DONTWAIT) < 0) return head;
  head.sender.client.size = header.msg_namelen;
  const auto client = header.msg_namelen == 0 ? std::nullopt : head.sender.client.endpoint();
  const auto local = local_of(header, bound);
  if (!client || !local || client->port == 0 || client == local->endpoint()) return {.state = Head::State::nobody};
  head.sender.local = *local;
  head.state = Head::State::someone;
  return head;
}

void drop_head(int port) {
  msghdr nowhere{};
  ::recvmsg(port, &nowhere, MSG_DONTWAIT);
}

// Sockets of clients do not stand in each other's way (SO_REUSEADDR), and share the port with its own for as long as
// they are made (SO_REUSEPORT, which asks for the same user).
Result<sys::OwnedFd> connected_to(const Sender& sender, int port, int every) {
  WEIR_TRY(sys::OwnedFd socket, open_for(sender.local));
  const int fd = socket.get();
  WEIR_CHECK_OK(attach(fd, SO_ATTACH_FILTER, only_from(*sender.client.endpoint())));
  WEIR_CHECK_OK(set(fd, SOL_SOCKET, SO_LOCK_FILTER, 1));
  WEIR_CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
  WEIR_CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
  // Without it (before 5.0) each datagram is read on its own.
  static_cast<void>(set(fd, IPPROTO_UDP, UDP_GRO, 1));
  const Shared shared(port);
  const Shared shared_too(every);
  if (::bind(fd, sender.local.get(), sender.local.size) != 0)
    return sys::errno_error("cannot share the published port");
  if (::connect(fd, sender.client.get(), sender.client.size) != 0) return sys::errno_error("cannot reach the client");
  WEIR_CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEPORT, 0));
  return socket;
}

}  // namespace weir::dial
