// From a client at a published port to two sockets for the gateway.
//
// A connection is accepted here (so that its client is who the kernel says), recorded, and only then init is asked for
// a socket to the port inside; both go to the gateway. No byte of either is read here. What cannot go on is reset.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dial/admission.h"
#include "sandbox/guest_sockets.h"
#include "supervisor/published_ports.h"
#include "sys/reactor.h"
#include "sys/socket_address.h"

namespace weir::supervisor {

class Inbound {
 public:
  // What goes to the gateway, which is started by the first of it.
  using Send = std::function<void(const control::ToGateway& message, sys::OwnedFd passed)>;

  // Connections that were accepted and do not have their socket inside yet; the others wait in the kernel.
  static constexpr std::size_t kMaxUnderWay = sandbox::GuestSockets::kMaxOwed;

  // The arguments must outlive it.
  Inbound(sys::Reactor& reactor, dial::Admission& admission, sandbox::GuestSockets& guest, Send send);
  ~Inbound();
  Inbound(const Inbound&) = delete;
  Inbound& operator=(const Inbound&) = delete;

  // Serves these ports from here on.
  Result<> start(std::vector<PublishedPort> ports);
  // Closes them; what is under way ends. Not from within the event loop.
  void stop();

 private:
  struct Port;
  struct Client;
  void accept_from(Port& port);
  void arrived(Port& port, sys::OwnedFd socket, const sys::SocketAddress& peer);
  void reach_guest(const std::shared_ptr<Client>& client, const net::IpAddress& loopback);
  void reached_guest(const std::shared_ptr<Client>& client, sandbox::GuestSockets::Opened opened);
  void one_less();
  void pause();
  void resume();

  sys::Reactor& reactor_;
  dial::Admission& admission_;
  sandbox::GuestSockets& guest_;
  Send send_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::size_t under_way_ = 0;
  bool paused_ = false;
  bool stopped_ = false;
};

}  // namespace weir::supervisor
