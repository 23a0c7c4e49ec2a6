#include "dial/dialer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

#include "sys/errno.h"

namespace weir::dial {

namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

SocketAddress socket_address(const net::Endpoint& endpoint) {
  SocketAddress address;
  if (endpoint.address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    v4.sin_addr.s_addr = htonl(endpoint.address.v4_bits());
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.size = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, endpoint.address.bytes().data(), 16);
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
  }
  return address;
}

// The socket talks to the address that was asked for: what was judged is what was dialled.
bool peer_is(int fd, const SocketAddress& expected) {
  SocketAddress peer;
  peer.size = sizeof peer.storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.size) != 0) return false;
  if (peer.size != expected.size || peer.family() != expected.family()) return false;
  if (peer.family() == AF_INET) {
    const auto& left = reinterpret_cast<const sockaddr_in&>(peer.storage);
    const auto& right = reinterpret_cast<const sockaddr_in&>(expected.storage);
    return left.sin_port == right.sin_port && left.sin_addr.s_addr == right.sin_addr.s_addr;
  }
  const auto& left = reinterpret_cast<const sockaddr_in6&>(peer.storage);
  const auto& right = reinterpret_cast<const sockaddr_in6&>(expected.storage);
  return left.sin6_port == right.sin6_port && std::memcmp(&left.sin6_addr, &right.sin6_addr, 16) == 0;
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
  Attempt(Dialer& owner, sys::OwnedFd fd, SocketAddress target, OnDone callback)
      : dialer(owner), socket(std::move(fd)), address(target), on_done(std::move(callback)) {}

  void on_events(std::uint32_t) override {
    if (!socket.valid()) return;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error == 0 && !peer_is(socket.get(), address)) error = EPROTO;
    dialer.finish(*this, error);
  }

  Dialer& dialer;
  sys::OwnedFd socket;
  SocketAddress address;
  OnDone on_done;
  sys::Reactor::TimerId timer = 0;
};

Dialer::Dialer(sys::Reactor& reactor) : reactor_(reactor) {}
Dialer::~Dialer() = default;

void Dialer::connect(const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done) {
  const SocketAddress address = socket_address(to);
  auto socket = open_tcp(address.family());
  if (!socket) return on_done({.socket = {}, .error = socket.error().code()});
  const int started = ::connect(socket->get(), address.get(), address.size);
  if (started != 0 && errno != EINPROGRESS) return on_done({.socket = {}, .error = errno});
  auto attempt = std::make_unique<Attempt>(*this, std::move(*socket), address, std::move(on_done));
  Attempt& pending = *attempt;
  if (!reactor_.watch(pending.socket.get(), EPOLLOUT | EPOLLONESHOT, pending))
    return pending.on_done({.socket = {}, .error = EMFILE});
  pending.timer = reactor_.at(reactor_.now_ms() + timeout_ms, [this, &pending] { finish(pending, ETIMEDOUT); });
  pending_.emplace(&pending, std::move(attempt));
}

void Dialer::finish(Attempt& attempt, int error) {
  reactor_.cancel(attempt.timer);
  reactor_.forget(attempt.socket.get());
  auto node = pending_.extract(&attempt);
  Dialled dialled{.socket = std::move(attempt.socket), .error = error};
  if (error != 0) dialled.socket.reset();
  const OnDone on_done = std::move(attempt.on_done);
  reactor_.retire(std::move(node.mapped()));
  on_done(std::move(dialled));
}

Result<sys::OwnedFd> connected_udp(const net::Endpoint& to) {
  const SocketAddress address = socket_address(to);
  WEIR_TRY(sys::OwnedFd fd, sys::checked_fd(::socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                            "cannot open a socket"));
  if (::connect(fd.get(), address.get(), address.size) != 0) return sys::errno_error("cannot reach " + to.text());
  return fd;
}

}  // namespace weir::dial
