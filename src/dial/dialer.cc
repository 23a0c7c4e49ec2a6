#include "dial/dialer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "sys/errno.h"
#include "sys/socket_address.h"

namespace weir::dial {

namespace {

// The socket talks to the address that was asked for: what was judged is what was dialled.
bool peer_is(int fd, const net::Endpoint& expected) {
  sys::SocketAddress peer;
  return ::getpeername(fd, peer.get(), &peer.size) == 0 && peer.endpoint() == expected;
}

Result<sys::OwnedFd> open_tcp(int family) {
  WEIR_TRY(sys::OwnedFd fd,
           sys::checked_fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "cannot open a socket"));
  const int on = 1;
  const linger reset_on_close{.l_onoff = 1, .l_linger = 0};
  if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close) != 0) {
    return sys::errno_error("cannot prepare a socket");
  }
  return fd;
}

}  // namespace

struct Dialer::Attempt : sys::EventHandler {
  Attempt(Dialer& owner, Id number, sys::OwnedFd fd, const net::Endpoint& target, OnDone callback)
      : dialer(owner), id(number), socket(std::move(fd)), destination(target), on_done(std::move(callback)) {}

  void on_events(std::uint32_t) override {
    if (!socket.valid()) return;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error == 0 && !peer_is(socket.get(), destination)) error = EPROTO;
    dialer.finish(id, error);
  }

  Dialer& dialer;
  Id id;
  sys::OwnedFd socket;
  net::Endpoint destination;
  OnDone on_done;
  sys::Reactor::TimerId timer = 0;
};

Dialer::Dialer(sys::Reactor& reactor) : reactor_(reactor) {}
// The event loop may go on without it.
Dialer::~Dialer() {
  for (const auto& [id, attempt] : pending_) {
    reactor_.cancel(attempt->timer);
    reactor_.forget(attempt->socket.get());
  }
}

Dialer::Id Dialer::connect(const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done) {
  const Id id = ++last_id_;
  start(id, to, timeout_ms, std::move(on_done));
  return id;
}

void Dialer::start(Id id, const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done) {
  const auto address = sys::SocketAddress::of(to);
  auto socket = open_tcp(address.family());
  if (!socket) return on_done({.socket = {}, .error = socket.error().code()});
  const int started = ::connect(socket->get(), address.get(), address.size);
  if (started != 0 && errno != EINPROGRESS) return on_done({.socket = {}, .error = errno});
  // On the machine itself the handshake is over when connect() returns, whatever it returns.
  if (peer_is(socket->get(), to)) return on_done({.socket = std::move(*socket), .error = 0});
  auto attempt = std::make_unique<Attempt>(*this, id, std::move(*socket), to, std::move(on_done));
  Attempt& pending = *attempt;
  if (!reactor_.watch(pending.socket.get(), EPOLLOUT | EPOLLONESHOT, pending))
    return pending.on_done({.socket = {}, .error = EMFILE});
  pending.timer = reactor_.at(reactor_.now_ms() + timeout_ms, [this, id] { finish(id, ETIMEDOUT); });
  pending_.emplace(id, std::move(attempt));
}

std::unique_ptr<Dialer::Attempt> Dialer::take_out(Id id) {
  auto node = pending_.extract(id);
  if (node.empty()) return nullptr;
  reactor_.cancel(node.mapped()->timer);
  reactor_.forget(node.mapped()->socket.get());
  return std::move(node.mapped());
}

void Dialer::finish(Id id, int error) {
  std::unique_ptr<Attempt> attempt = take_out(id);
  if (attempt == nullptr) return;
  Dialled dialled{.socket = std::move(attempt->socket), .error = error};
  if (error != 0) dialled.socket.reset();
  const OnDone on_done = std::move(attempt->on_done);
  reactor_.retire(std::move(attempt));
  on_done(std::move(dialled));
}

void Dialer::cancel(Id id) {
  std::unique_ptr<Attempt> attempt = take_out(id);
  if (attempt == nullptr) return;
  attempt->socket.reset();
  reactor_.retire(std::move(attempt));
}

namespace {

Result<sys::OwnedFd> open_datagrams(int family, int protocol) {
  return sys::checked_fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol), "cannot open a socket");
}

}  // namespace

Result<sys::OwnedFd> connected_udp(const net::Endpoint& to) {
  const auto address = sys::SocketAddress::of(to);
  WEIR_TRY(sys::OwnedFd fd, open_datagrams(address.family(), 0));
  if (::connect(fd.get(), address.get(), address.size) != 0) return sys::errno_error("cannot reach " + to.text());
  return fd;
}

Dialled datagram_socket(net::Protocol protocol, const net::Endpoint& to) {
  const bool v4 = to.address.is_v4();
  net::Endpoint peer = to;
  int number = 0;
  if (protocol == net::Protocol::icmp) {
    // A ping socket has no use for the port, but without one the kernel does not call it connected.
    peer.port = 7;
    number = v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  }
  const auto address = sys::SocketAddress::of(peer);
  auto fd = open_datagrams(address.family(), number);
  if (!fd) return {.socket = {}, .error = fd.error().code()};
  const int on = 1;
  if (::setsockopt(fd->get(), v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6}, v4 ? IP_RECVERR : IPV6_RECVERR, &on,
                   sizeof on) != 0 ||
      ::connect(fd->get(), address.get(), address.size) != 0) {
    return {.socket = {}, .error = errno};
  }
  // Without it (before 5.0) each datagram is read on its own.
  if (protocol == net::Protocol::udp) ::setsockopt(fd->get(), IPPROTO_UDP, UDP_GRO, &on, sizeof on);
  if (!peer_is(fd->get(), peer)) return {.socket = {}, .error = EPROTO};
  return {.socket = std::move(*fd), .error = 0};
}

}  // namespace weir::dial
