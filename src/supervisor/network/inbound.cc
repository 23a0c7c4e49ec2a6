#include "supervisor/network/inbound.h"

#include <sys/socket.h>

#include <cerrno>

#include "net/loopback.h"
#include "sys/errno.h"

namespace weir::supervisor {

namespace {

constexpr int kAcceptsPerRound = 64;
constexpr std::uint64_t kAcceptAgainMs = 50;  // out of descriptors
constexpr std::uint32_t kReady = EPOLLIN | EPOLLRDHUP;

}  // namespace

Inbound::Inbound(sys::Reactor& reactor, dial::Admission& admission, sandbox::GuestSockets& guest, Send send)
    : reactor_(reactor), admission_(admission), guest_(guest), send_(std::move(send)) {}

Inbound::~Inbound() {
  stop();
}

void Inbound::stop() {
  stopped_ = true;
  for (const auto& each : ports_) reactor_.forget(each->fd());
  ports_.clear();
}

Result<> Inbound::start(std::vector<PublishedPort> ports) {
  for (PublishedPort& port : ports) {
    ports_.push_back(std::make_unique<Port>(*this, std::move(port)));
    ports_.back()->number = static_cast<std::uint16_t>(ports_.size());
    WEIR_CHECK_OK(reactor_.watch(ports_.back()->fd(), kReady, *ports_.back()));
  }
  return {};
}

void Inbound::on_events(Port& port, std::uint32_t events) {
  if (!port.is_udp()) return accept_from(port);
  // Only a hostile gateway, which has a copy, shuts it; it would be ready for ever.
  port.shut = (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0;
  if (port.shut) return reactor_.forget(port.fd());
  look_at_datagrams(port);
}

void Inbound::accept_from(Port& port) {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    if (under_way_ >= kMaxUnderWay) return pause();
    sys::SocketAddress peer;
    sys::OwnedFd socket(::accept4(port.fd(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      arrived(port, std::move(socket), peer);
      continue;
    }
    if (sys::is_exhaustion(errno)) {
      pause();
      reactor_.at(reactor_.now_ms() + kAcceptAgainMs, [this] { resume(); });
    }
    return;
  }
}

// Until it is settled the record is not written; a client that is refused is reset when its socket closes.
void Inbound::arrived(Port& port, sys::OwnedFd socket, const sys::SocketAddress& peer) {
  sys::SocketAddress local;
  if (::getsockname(socket.get(), local.get(), &local.size) != 0) return;
  const auto from = peer.endpoint();
  const auto to = local.endpoint();
  if (!from || !to) return;
  auto client = std::make_shared<Client>();
  client->socket = std::move(socket);
  client->arrival = {
      .protocol = net::Protocol::tcp, .client = *from, .published = *to, .guest = port.published.publish.guest};
  ++under_way_;
  admission_.open_inbound(client->arrival, [this, client](std::uint64_t flow) {
    client->flow = flow;
    if (flow == 0) return one_less();
    reach_guest(client, client->arrival.client.address.is_v4() ? net::kLoopback4 : net::kLoopback6);
  });
}

void Inbound::reach_guest(const std::shared_ptr<Client>& client, const net::IpAddress& loopback) {
  if (stopped_) return admission_.close_inbound(client->flow, ECANCELED);
  client->asked = loopback;
  guest_.open(client->arrival.protocol, {.address = loopback, .port = client->arrival.guest},
              admission_.connect_timeout_ms(),
              [this, client](sandbox::GuestSockets::Opened opened) { reached_guest(client, std::move(opened)); });
}

// A server inside may listen on one loopback only, whichever family the client speaks: both are asked.
void Inbound::reached_guest(const std::shared_ptr<Client>& client, sandbox::GuestSockets::Opened opened) {
  const net::IpAddress first = client->arrival.client.address.is_v4() ? net::kLoopback4 : net::kLoopback6;
  if (opened.error == ECONNREFUSED && client->asked == first && guest_.has_room())
    return reach_guest(client, first == net::kLoopback4 ? net::kLoopback6 : net::kLoopback4);
  one_less();
  if (opened.error == 0) {
    client->guest = std::move(opened.socket);
    if (!client->early) hand_over(*client);
    return;
  }
  tell_gone(*client);
  admission_.close_inbound(client->flow, opened.error);
}

void Inbound::hand_over(Client& client) {
  if (suspended_) {
    tell_gone(client);
    return admission_.close_inbound(client.flow, ECANCELED);
  }
  if (!admission_.pass_inbound(client.flow)) return tell_gone(client);
  send_(control::InboundClient{.flow = client.flow, .protocol = client.arrival.protocol}, std::move(client.socket));
  send_(control::InboundGuest{.flow = client.flow}, std::move(client.guest));
}

// The gateway may have something of it.
void Inbound::tell_gone(const Client& client) {
  if (client.arrival.protocol == net::Protocol::udp) send_(control::InboundGone{.flow = client.flow}, {});
}

void Inbound::one_less() {
  --under_way_;
  resume();
}

void Inbound::pause() {
  if (std::exchange(paused_, true)) return;
  for (const auto& each : ports_) set_interest(*each);
}

void Inbound::resume() {
  if (under_way_ >= kMaxUnderWay || !std::exchange(paused_, false)) return;
  for (const auto& each : ports_) set_interest(*each);
}

void Inbound::suspend() {
  suspended_ = true;
  for (const auto& each : ports_) set_interest(*each);
}

void Inbound::go_on() {
  suspended_ = false;
  for (const auto& each : ports_) set_interest(*each);
}

void Inbound::set_interest(Port& port) {
  if (!port.shut) reactor_.change(port.fd(), suspended_ || paused_ || port.busy ? 0 : kReady, port);
}

}  // namespace weir::supervisor
