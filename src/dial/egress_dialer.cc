#include "dial/egress_dialer.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "dial/errno_name.h"
#include "wire/tunnel_client.h"

namespace weir::dial {

namespace {

wire::TunnelClient::Kind kind_of(const EgressRoute& route) {
  return route.proxy.kind == policy::EgressProxy::Kind::http ? wire::TunnelClient::Kind::http
                                                             : wire::TunnelClient::Kind::socks;
}

Dialled failed(int error, std::string said) {
  return {.socket = {}, .error = error, .proxy_said = std::move(said)};
}

}  // namespace

struct EgressDialer::Tunnel : sys::EventHandler {
  Tunnel(EgressDialer& egress, Dialer::Id number, wire::TunnelClient talk, Dialer::OnDone callback)
      : owner(egress), id(number), client(std::move(talk)), on_done(std::move(callback)) {}

  void on_events(std::uint32_t) override {
    if (!socket.valid() || owner.suspended_) return;
    if (auto outcome = step()) owner.finish(id, std::move(*outcome));
  }

  // Says and hears what there is; the outcome when there is one.
  std::optional<Dialled> step() {
    using State = wire::TunnelClient::State;
    // As many turns as a handshake has, and then some: a proxy that is never silent waits for its next round.
    for (int turn = 0; turn < 8; ++turn) {
      if (const int error = say(); error != 0) return failed(error, errno_name(error));
      if (!unsaid.empty()) break;
      const ssize_t heard = hear();
      if (heard < 0 && errno == EAGAIN) break;
      if (heard < 0) return failed(errno, errno_name(errno));
      if (heard == 0) return failed(EPROTO, "closed before the tunnel stood");
      if (client.state() == State::stands) return Dialled{.socket = std::move(socket), .error = 0};
      if (client.state() != State::talking) return failed(client.error(), client.said());
    }
    owner.reactor_.change(socket.get(), unsaid.empty() ? EPOLLIN : EPOLLOUT, *this);
    return std::nullopt;
  }

  int say() {
    unsaid += client.take_output();
    while (!unsaid.empty()) {
      const ssize_t sent = ::send(socket.get(), unsaid.data(), unsaid.size(), MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN ? 0 : errno;
      unsaid.erase(0, static_cast<std::size_t>(sent));
    }
    return 0;
  }

  // Looks first and takes only what is the handshake's: the rest stays in the socket for whoever gets it.
  ssize_t hear() {
    std::array<std::uint8_t, 4096> buffer;
    const ssize_t there = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_PEEK);
    if (there <= 0) return there;
    const std::size_t used = client.feed(Bytes(buffer).first(static_cast<std::size_t>(there)));
    return used == 0 ? there : ::recv(socket.get(), buffer.data(), used, 0);
  }

  EgressDialer& owner;
  Dialer::Id id;
  wire::TunnelClient client;
  Dialer::OnDone on_done;
  Dialer::Id dial = 0;  // while the proxy is being connected to
  sys::OwnedFd socket;
  std::string unsaid;
  sys::Reactor::TimerId timer = 0;
};

EgressDialer::EgressDialer(sys::Reactor& reactor, Dialer& dialer) : reactor_(reactor), dialer_(dialer) {}
EgressDialer::~EgressDialer() {
  for (const auto& [id, tunnel] : tunnels_) {
    reactor_.cancel(tunnel->timer);
    if (tunnel->socket.valid()) reactor_.forget(tunnel->socket.get());
  }
}

Dialer::Id EgressDialer::connect(const EgressRoute& route, const wire::Authority& target, std::uint64_t timeout_ms,
                                 Dialer::OnDone on_done) {
  const Dialer::Id id = ++last_id_;
  const std::uint64_t patience = std::min(timeout_ms, kLongestMs);
  auto tunnel = std::make_unique<Tunnel>(*this, id, wire::TunnelClient(kind_of(route), target, route.credentials),
                                         std::move(on_done));
  Tunnel& started = *tunnel;
  tunnels_.emplace(id, std::move(tunnel));
  started.timer = reactor_.at(reactor_.now_ms() + patience, [this, id] {
    const bool reached = tunnels_.at(id)->socket.valid();
    finish(id, failed(ETIMEDOUT, reached ? "silence" : "not reached: ETIMEDOUT"));
  });
  const Dialer::Id dial = dialer_.connect(route.proxy.endpoint, patience,
                                          [this, id](Dialled dialled) { connected(id, std::move(dialled)); });
  // It may have failed already, and the tunnel with it.
  if (const auto still = tunnels_.find(id); still != tunnels_.end() && !still->second->socket.valid())
    still->second->dial = dial;
  return id;
}

void EgressDialer::connected(Dialer::Id id, Dialled dialled) {
  Tunnel& tunnel = *tunnels_.at(id);
  tunnel.dial = 0;
  if (dialled.error != 0) return finish(id, failed(dialled.error, "not reached: " + errno_name(dialled.error)));
  tunnel.socket = std::move(dialled.socket);
  if (!suspended_) talk(tunnel);
}

void EgressDialer::talk(Tunnel& tunnel) {
  if (!reactor_.watch(tunnel.socket.get(), EPOLLIN | EPOLLOUT, tunnel)) finish(tunnel.id, failed(EMFILE, "EMFILE"));
}

void EgressDialer::suspend() {
  suspended_ = true;
  for (const auto& [id, tunnel] : tunnels_) {
    if (tunnel->socket.valid()) reactor_.forget(tunnel->socket.get());
  }
}

void EgressDialer::go_on() {
  suspended_ = false;
  std::vector<Dialer::Id> held;
  for (const auto& [id, tunnel] : tunnels_) {
    if (tunnel->socket.valid()) held.push_back(id);
  }
  for (const Dialer::Id id : held) {
    if (const auto found = tunnels_.find(id); found != tunnels_.end()) talk(*found->second);
  }
}

void EgressDialer::finish(Dialer::Id id, Dialled dialled) {
  auto node = tunnels_.extract(id);
  if (node.empty()) return;
  Tunnel& tunnel = *node.mapped();
  reactor_.cancel(tunnel.timer);
  dialer_.cancel(tunnel.dial);
  for (const sys::OwnedFd* fd : {&dialled.socket, &tunnel.socket}) {
    if (fd->valid()) reactor_.forget(fd->get());
  }
  tunnel.socket.reset();
  const Dialer::OnDone on_done = std::move(tunnel.on_done);
  reactor_.retire(std::move(node.mapped()));
  on_done(std::move(dialled));
}

void EgressDialer::cancel(Dialer::Id id) {
  const auto found = tunnels_.find(id);
  if (found == tunnels_.end()) return;
  found->second->on_done = [](const Dialled&) {};
  finish(id, failed(ECANCELED, ""));
}

}  // namespace weir::dial
