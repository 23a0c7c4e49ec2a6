#include "supervisor/inbound.h"

#include <sys/socket.h>

#include <cerrno>

#include "net/loopback.h"

namespace weir::supervisor {

namespace {

constexpr int kAcceptsPerRound = 64;
constexpr std::uint64_t kAcceptAgainMs = 50;  // out of descriptors

}  // namespace

struct Inbound::Port : sys::EventHandler {
  Port(Inbound& owner, PublishedPort published) : inbound(owner), port(std::move(published)) {}
  void on_events(std::uint32_t) override { inbound.accept_from(*this); }

  Inbound& inbound;
  PublishedPort port;
};

// Accepted, recorded, and waiting for its socket inside.
struct Inbound::Client {
  sys::OwnedFd socket;
  dial::Arrival arrival;
  std::uint64_t flow = 0;
  net::IpAddress asked;  // which loopback of the sandbox
};

Inbound::Inbound(sys::Reactor& reactor, dial::Admission& admission, sandbox::GuestSockets& guest, Send send)
    : reactor_(reactor), admission_(admission), guest_(guest), send_(std::move(send)) {}

Inbound::~Inbound() {
  stop();
}

void Inbound::stop() {
  stopped_ = true;
  for (const auto& each : ports_) reactor_.forget(each->port.socket.get());
  ports_.clear();
}

Result<> Inbound::start(std::vector<PublishedPort> ports) {
  for (PublishedPort& port : ports) {
    ports_.push_back(std::make_unique<Port>(*this, std::move(port)));
    WEIR_CHECK_OK(reactor_.watch(ports_.back()->port.socket.get(), EPOLLIN, *ports_.back()));
  }
  return {};
}

void Inbound::accept_from(Port& port) {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    if (under_way_ >= kMaxUnderWay) return pause();
    sys::SocketAddress peer;
    sys::OwnedFd socket(::accept4(port.port.socket.get(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      arrived(port, std::move(socket), peer);
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
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
      .protocol = net::Protocol::tcp, .client = *from, .published = *to, .guest = port.port.publish.guest};
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
  if (opened.error != 0) return admission_.close_inbound(client->flow, opened.error);
  if (!admission_.pass_inbound(client->flow)) return;
  send_(control::InboundClient{.flow = client->flow}, std::move(client->socket));
  send_(control::InboundGuest{.flow = client->flow}, std::move(opened.socket));
}

void Inbound::one_less() {
  --under_way_;
  resume();
}

void Inbound::pause() {
  if (std::exchange(paused_, true)) return;
  for (const auto& each : ports_) reactor_.change(each->port.socket.get(), 0, *each);
}

void Inbound::resume() {
  if (under_way_ >= kMaxUnderWay || !std::exchange(paused_, false)) return;
  for (const auto& each : ports_) reactor_.change(each->port.socket.get(), EPOLLIN, *each);
}

}  // namespace weir::supervisor
