// From a client at a published port to two sockets for the gateway.
//
// A connection is accepted here (so that its client is who the kernel says), recorded, and only then init is asked for
// a socket to the port inside; both go to the gateway. No byte of either is read here. What cannot go on is reset.
//
// Of a datagram that waits at a port only its sender is looked at. A new one is recorded and gets a socket of its own,
// which the kernel prefers from then on. The datagram itself is taken by the gateway, one at a time, because the next
// one is seen only when it is gone; the client's socket goes to the gateway when no earlier datagram of its waits at
// the port.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dial/admission.h"
#include "dial/datagram_port.h"
#include "sandbox/network/guest_sockets.h"
#include "supervisor/network/published_ports.h"
#include "sys/reactor.h"
#include "sys/socket_address.h"

namespace weir::supervisor {

class Inbound {
 public:
  // What goes to the gateway, which is started by the first of it.
  using Send = std::function<void(const control::ToGateway& message, sys::OwnedFd passed)>;

  // Connections that were accepted and do not have their socket inside yet; the others wait in the kernel.
  static constexpr std::size_t kMaxUnderWay = sandbox::GuestSockets::kMaxOwed;

  // With the sockets of UDP ports that are bound to every address, one for each of this machine's that was spoken to.
  // Beyond them a datagram may be lost while somebody else's socket is made.
  static constexpr std::size_t kMaxPorts = control::kMaxInboundPorts;
  // Datagrams that may wait at a port before those of one client are not looked for any more.
  static constexpr std::uint64_t kMaxEarly = 1024;

  // The arguments must outlive it.
  Inbound(sys::Reactor& reactor, dial::Admission& admission, sandbox::GuestSockets& guest, Send send);
  ~Inbound();
  Inbound(const Inbound&) = delete;
  Inbound& operator=(const Inbound&) = delete;

  // Serves these ports from here on.
  Result<> start(std::vector<PublishedPort> ports);
  // The gateway has taken the datagram that it was told to.
  void on(const control::InboundTaken& taken);
  // Closes them; what is under way ends. Not from within the event loop.
  void stop();
  // Nobody is let in until go_on(), and who was on the way is turned away.
  void suspend();
  void go_on();

 private:
  // Recorded, and waiting for its socket inside.
  struct Client {
    sys::OwnedFd socket;
    dial::Arrival arrival;
    std::uint64_t flow = 0;
    net::IpAddress asked = {};  // which loopback of the sandbox
    sys::OwnedFd guest = {};
    bool early = false;
    std::uint64_t taken_before = 0;  // of its port
  };

  struct Port : sys::EventHandler {
    Port(Inbound& owner, PublishedPort bound) : inbound(owner), published(std::move(bound)) {}
    void on_events(std::uint32_t events) override { inbound.on_events(*this, events); }
    int fd() const { return published.socket.get(); }
    bool is_udp() const { return published.publish.protocol == net::Protocol::udp; }

    Inbound& inbound;
    PublishedPort published;
    // The rest is UDP's.
    std::uint16_t number = 0;  // for the gateway
    bool told = false;         // the gateway has its socket
    bool busy = false;         // somebody is being recorded, or the gateway is about to take a datagram
    bool waits_for_gateway = false;
    bool shut = false;                           // it gives nothing any more
    const Port* every = nullptr;                 // bound to every address, and this one is beside it
    std::uint64_t taken = 0;                     // datagrams
    std::vector<std::shared_ptr<Client>> early;  // earlier datagrams of these may still wait here
  };

  void on_events(Port& port, std::uint32_t events);
  void accept_from(Port& port);
  void arrived(Port& port, sys::OwnedFd socket, const sys::SocketAddress& peer);
  void reach_guest(const std::shared_ptr<Client>& client, const net::IpAddress& loopback);
  void reached_guest(const std::shared_ptr<Client>& client, sandbox::GuestSockets::Opened opened);
  void hand_over(Client& client);
  void tell_gone(const Client& client);
  void one_less();
  void pause();
  void resume();
  void set_interest(Port& port);

  void look_at_datagrams(Port& port);
  void spoke(Port& port, const dial::Sender& sender);
  void begin(Port& port, const std::shared_ptr<Client>& client);
  void drop(Port& port);
  void have_taken(Port& port, std::uint64_t flow, const net::Endpoint& client);
  void no_longer_early(Port& port, std::uint64_t taken_before);
  Port& beside(Port& port, const dial::Sender& sender);

  sys::Reactor& reactor_;
  dial::Admission& admission_;
  sandbox::GuestSockets& guest_;
  Send send_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::size_t under_way_ = 0;
  bool paused_ = false;
  bool suspended_ = false;
  bool stopped_ = false;
};

}  // namespace weir::supervisor
