#include "sandbox/network/guest_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sys/errno.h"
#include "sys/socket_address.h"

namespace weir::sandbox {

namespace {

using Kind = control::OpenSocket::Kind;

// Network namespaces are numbered since the machine started; no number is used again (sock_net_cookie, kernel 5.14).
std::optional<std::uint64_t> namespace_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) return std::nullopt;
  return cookie;
}

// What is no socket has no option either.
bool option_is(int socket, int option, int wanted) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

bool peer_is(int socket, const net::Endpoint& wanted) {
  sys::SocketAddress peer;
  return ::getpeername(socket, peer.get(), &peer.size) == 0 && peer.endpoint() == wanted;
}

int pending_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

int type_of(Kind kind) {
  return kind == Kind::stream ? SOCK_STREAM : SOCK_DGRAM;
}

bool prepare_stream(int socket) {
  const int on = 1;
  const linger reset_on_close{.l_onoff = 1, .l_linger = 0};
  return ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
         ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close) == 0;
}

}  // namespace

Result<sys::OwnedFd> open_namespace_socket() {
  return sys::checked_fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "cannot open a socket in the sandbox");
}

Result<sys::OwnedFd> begin_connect(const control::OpenSocket& wanted) {
  const auto address = sys::SocketAddress::of(wanted.to);
  WEIR_TRY(sys::OwnedFd socket,
           sys::checked_fd(::socket(address.family(), type_of(wanted.kind) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                           "cannot open a socket in the sandbox"));
  if (::connect(socket.get(), address.get(), address.size) != 0 && errno != EINPROGRESS)
    return sys::errno_error("cannot reach " + wanted.to.text() + " in the sandbox");
  return socket;
}

void serve_socket(const control::OpenSocket& wanted,
                  const std::function<Result<>(const control::FromInit&, int passed)>& send) {
  const auto socket = begin_connect(wanted);
  const auto sent =
      socket ? send(control::SocketMade{.id = wanted.id}, socket->get()) : Result<>(std::unexpected(socket.error()));
  if (sent) return;
  // Also when the user's processes together have too many descriptors on the way. A supervisor that is gone need not be
  // told: its end is this process's end.
  static_cast<void>(
      send(control::SocketFailed{.id = wanted.id, .code = static_cast<std::uint32_t>(sent.error().code())}, -1));
}

// Until init has answered; then until the socket is connected.
struct GuestSockets::Owed : sys::EventHandler {
  Owed(GuestSockets& owner, const control::OpenSocket& wanted, OnDone callback)
      : sockets(owner), asked(wanted), on_done(std::move(callback)) {}

  void on_events(std::uint32_t) override {
    if (socket.valid()) sockets.look_at(*this, Phase::ready);
  }

  GuestSockets& sockets;
  control::OpenSocket asked;
  OnDone on_done;  // empty once it was called: init still owes an answer
  sys::OwnedFd socket;
  sys::Reactor::TimerId timer = 0;
};

GuestSockets::GuestSockets(sys::Reactor& reactor, std::uint64_t cookie, Send send)
    : reactor_(reactor), namespace_(cookie), send_(std::move(send)) {}

GuestSockets::~GuestSockets() {
  for (const auto& [id, owed] : owed_) {
    reactor_.cancel(owed->timer);
    if (owed->socket.valid()) reactor_.forget(owed->socket.get());
  }
}

Result<std::unique_ptr<GuestSockets>> GuestSockets::create(sys::Reactor& reactor, const sys::OwnedFd& reference,
                                                           Send send) {
  const auto cookie = namespace_of(reference.get());
  if (!cookie) {
    return std::unexpected(Error("cannot tell network namespaces apart: " + sys::errno_text(errno), errno)
                               .with_remedy("publish no ports (-p), or use a kernel from 5.14 on"));
  }
  return std::unique_ptr<GuestSockets>(new GuestSockets(reactor, *cookie, std::move(send)));
}

void GuestSockets::open(net::Protocol protocol, const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done) {
  if (!has_room()) return on_done({.socket = {}, .error = EAGAIN});
  const control::OpenSocket asked{
      .id = ++last_id_, .kind = protocol == net::Protocol::tcp ? Kind::stream : Kind::datagram, .to = to};
  if (const auto sent = send_(asked); !sent) return on_done({.socket = {}, .error = sent.error().code()});
  auto owed = std::make_unique<Owed>(*this, asked, std::move(on_done));
  owed->timer = reactor_.at(reactor_.now_ms() + timeout_ms, [this, id = asked.id] {
    const auto found = owed_.find(id);
    if (found == owed_.end()) return;
    if (found->second->socket.valid()) return finish(id, ETIMEDOUT);
    answer(*found->second, ETIMEDOUT);
  });
  owed_.emplace(asked.id, std::move(owed));
}

bool GuestSockets::take(const control::SocketMade& made, sys::OwnedFd& socket) {
  const auto found = owed_.find(made.id);
  if (found == owed_.end() || found->second->socket.valid()) return false;
  Owed& owed = *found->second;
  if (!is_as_asked(owed.asked, socket.get())) return false;
  owed.socket = std::move(socket);
  if (owed.on_done) {
    look_at(owed, Phase::handed_over);
  } else {
    finish(made.id, ETIMEDOUT);
  }
  return true;
}

bool GuestSockets::take(const control::SocketFailed& failed) {
  const auto found = owed_.find(failed.id);
  if (found == owed_.end() || found->second->socket.valid()) return false;
  finish(failed.id, failed.code == 0 || failed.code > 0xfff ? EPROTO : static_cast<int>(failed.code));
  return true;
}

bool GuestSockets::is_as_asked(const control::OpenSocket& asked, int socket) const {
  const bool stream = asked.kind == Kind::stream;
  return option_is(socket, SO_DOMAIN, asked.to.address.is_v4() ? AF_INET : AF_INET6) &&
         option_is(socket, SO_TYPE, type_of(asked.kind)) &&
         option_is(socket, SO_PROTOCOL, stream ? IPPROTO_TCP : IPPROTO_UDP) && option_is(socket, SO_ACCEPTCONN, 0) &&
         namespace_of(socket) == namespace_;
}

void GuestSockets::look_at(Owed& owed, Phase phase) {
  const int socket = owed.socket.get();
  if (const int error = pending_error(socket); error != 0) return finish(owed.asked.id, error);
  if (peer_is(socket, owed.asked.to)) {
    const bool ready = owed.asked.kind == Kind::datagram || prepare_stream(socket);
    return finish(owed.asked.id, ready ? 0 : EPROTO);
  }
  // A connect that has ended without an error and without that peer is none.
  if (phase == Phase::ready || owed.asked.kind == Kind::datagram) return finish(owed.asked.id, EPROTO);
  if (!reactor_.watch(socket, EPOLLOUT, owed)) finish(owed.asked.id, EMFILE);
}

void GuestSockets::answer(Owed& owed, int error) {
  if (!owed.on_done) return;
  Opened opened{.socket = std::move(owed.socket), .error = error};
  if (error != 0) drop(std::move(opened.socket));
  std::exchange(owed.on_done, nullptr)(std::move(opened));
}

// The last close of a connected socket waits for what is queued in it, for as long as SO_LINGER says, and that is in a
// hostile init's hand; not where there is no connection. Others are closed when nobody is left at their other end.
void GuestSockets::drop(sys::OwnedFd socket) {
  if (!socket.valid()) return;
  tcp_info info{};
  socklen_t size = sizeof info;
  const bool known = ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
  if (known && info.tcpi_state != TCP_CLOSE && info.tcpi_state != TCP_SYN_SENT)
    unsafe_to_close_.push_back(std::move(socket));
}

void GuestSockets::finish(std::uint64_t id, int error) {
  auto node = owed_.extract(id);
  std::unique_ptr<Owed> owed = std::move(node.mapped());
  reactor_.cancel(owed->timer);
  if (owed->socket.valid()) reactor_.forget(owed->socket.get());
  Owed& ended = *owed;
  reactor_.retire(std::move(owed));
  answer(ended, error);
}

}  // namespace weir::sandbox
