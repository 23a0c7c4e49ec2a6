// The part of Inbound that is about published UDP ports.
#include <fcntl.h>

#include <cerrno>

#include "net/loopback.h"
#include "supervisor/network/inbound.h"

namespace weir::supervisor {

namespace {

constexpr int kSendersPerRound = 64;

}  // namespace

void Inbound::look_at_datagrams(Port& port) {
  for (int i = 0; !port.busy && !stopped_ && !suspended_; ++i) {
    const dial::Head head = dial::look(port.fd());
    if (head.state == dial::Head::State::nothing) return no_longer_early(port, port.taken);
    // From here on it is readable, so that it is looked at again.
    if (i == kSendersPerRound) return;
    if (under_way_ >= kMaxUnderWay) return pause();
    if (head.state == dial::Head::State::someone) {
      spoke(port, head.sender);
    } else {
      dial::drop_head(port.fd());
    }
  }
}

// The client's socket is made before it is recorded: what cannot be answered is no flow. It sends nothing.
void Inbound::spoke(Port& port, const dial::Sender& sender) {
  const dial::Arrival arrival{.protocol = net::Protocol::udp,
                              .client = *sender.client.endpoint(),
                              .published = *sender.local.endpoint(),
                              .guest = port.published.publish.guest,
                              .link = sender.link()};
  if (const auto flow = admission_.inbound_flow_of(arrival)) return have_taken(port, *flow, arrival.client);
  if (admission_.turn_away(arrival)) return dial::drop_head(port.fd());
  const Port& at = beside(port, sender);
  auto socket = dial::connected_to(sender, at.fd(), at.every == nullptr ? -1 : at.every->fd());
  if (!socket) {
    admission_.refuse_inbound(arrival);
    return dial::drop_head(port.fd());
  }
  auto client = std::make_shared<Client>(Client{.socket = std::move(*socket), .arrival = arrival});
  port.busy = true;
  set_interest(port);
  ++under_way_;
  admission_.open_inbound(arrival, [this, &port, client](std::uint64_t flow) {
    client->flow = flow;
    if (!stopped_) return begin(port, client);
    admission_.close_inbound(flow, ECANCELED);
  });
}

void Inbound::begin(Port& port, const std::shared_ptr<Client>& client) {
  // There may be no gateway that could take it, and none is started.
  if (suspended_ && client->flow != 0) admission_.close_inbound(client->flow, ECANCELED);
  if (suspended_ || client->flow == 0) {
    one_less();
    return drop(port);
  }
  client->early = true;
  client->taken_before = port.taken;
  port.early.push_back(client);
  have_taken(port, client->flow, client->arrival.client);
  if (!port.busy) look_at_datagrams(port);
  reach_guest(client, client->arrival.client.address.is_v4() ? net::kLoopback4 : net::kLoopback6);
}

// The datagram that waits first; it was not looked for whether another one waits behind it.
void Inbound::drop(Port& port) {
  dial::drop_head(port.fd());
  port.busy = false;
  look_at_datagrams(port);
  set_interest(port);
}

void Inbound::have_taken(Port& port, std::uint64_t flow, const net::Endpoint& client) {
  if (!port.told) {
    sys::OwnedFd copy(::fcntl(port.fd(), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) {  // out of descriptors: lost, as where there is no room
      dial::drop_head(port.fd());
      port.busy = false;
      return set_interest(port);
    }
    port.told = true;
    send_(control::InboundPort{.port = port.number}, std::move(copy));
  }
  send_(control::InboundTake{.flow = flow, .port = port.number, .client = client}, {});
  port.busy = true;
  port.waits_for_gateway = true;
  set_interest(port);
}

void Inbound::on(const control::InboundTaken& taken) {
  if (taken.port == 0 || taken.port > ports_.size()) return;
  Port& port = *ports_[taken.port - 1];
  if (!port.waits_for_gateway) return;
  port.waits_for_gateway = false;
  port.busy = false;
  if (++port.taken > kMaxEarly) no_longer_early(port, port.taken - kMaxEarly);
  look_at_datagrams(port);
  set_interest(port);
}

// Of those that came before so many datagrams were taken, none waits any more.
void Inbound::no_longer_early(Port& port, std::uint64_t taken_before) {
  std::erase_if(port.early, [&](const auto& client) {
    if (client->taken_before > taken_before) return false;
    client->early = false;
    if (client->guest.valid()) hand_over(*client);
    return true;
  });
}

// The port at which the sender's socket can be made: one that is bound to the address that it spoke to.
Inbound::Port& Inbound::beside(Port& port, const dial::Sender& sender) {
  const net::IpAddress local = sender.local.endpoint()->address;
  if (port.every != nullptr || port.published.publish.bind == local) return port;
  for (const auto& each : ports_) {
    if (each->every == &port && each->published.publish.bind == local) return *each;
  }
  if (ports_.size() >= kMaxPorts) return port;
  auto socket = dial::bind_beside(port.fd(), sender.local);
  if (!socket) return port;
  PublishedPort published{.publish = port.published.publish, .socket = std::move(*socket), .mark = {}};
  published.publish.bind = local;
  auto made = std::make_unique<Port>(*this, std::move(published));
  made->every = &port;
  made->number = static_cast<std::uint16_t>(ports_.size() + 1);
  if (!reactor_.watch(made->fd(), paused_ || suspended_ ? 0 : std::uint32_t{EPOLLIN | EPOLLRDHUP}, *made)) return port;
  ports_.push_back(std::move(made));
  return *ports_.back();
}

}  // namespace weir::supervisor
