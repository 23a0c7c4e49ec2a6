// What comes from outside to published ports: two sockets that the supervisor hands over, and the bytes between them.
//
// Nothing is asked and nothing is dialled: the client's socket is connected to whoever came, the guest's to a port
// inside. Neither can be made to lead elsewhere by a process that may not connect.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "control/gateway_messages.h"
#include "gateway/idle_sweep.h"
#include "gateway/inbound/datagram_pairs.h"
#include "gateway/link.h"
#include "gateway/tcp/relay.h"

namespace weir::gateway {

class InboundTable {
 public:
  // `meter`: of what comes in at published ports alone.
  InboundTable(sys::Reactor& reactor, Link& link, RelayContext& context, Meter& meter, const control::Start& world);
  ~InboundTable();

  void start() {
    sweep_.start([this] { end_idle(); });
    datagrams_.start();
  }

  // False: the message is about something else, and `passed` is left alone.
  bool take(const control::ToGateway& message, sys::OwnedFd& passed);
  // The flow lost its permission: both its ends are closed at once (reset, where there is a connection), and that is
  // reported. False if there is no such flow here.
  bool cut(std::uint64_t flow);
  void change_idle_timeouts(const control::Policy& next) {
    sweep_.change_timeout(next.idle_timeout_ms);
    datagrams_.narrow(next.udp_idle_timeout_ms, next.datagram_clients);
  }

  // The guest's processes are gone: each connection ends when what they sent has gone out; then, and whenever there is
  // none left again, `on_drained` is called.
  void drain(std::function<void()> on_drained);

 private:
  // The two messages of a connection, one right after the other.
  void on(const control::InboundClient& message, sys::OwnedFd client);
  void on(const control::InboundGuest& message, sys::OwnedFd guest);
  void relay(std::uint64_t flow, sys::OwnedFd client, sys::OwnedFd guest);
  void ended(std::uint64_t flow, const Relay::End& end);
  void end_idle();

  sys::Reactor& reactor_;
  Link& link_;
  IdleSweep sweep_;
  RelayContext& context_;
  Meter& meter_;
  DatagramPairs datagrams_;
  control::InboundClient waiting_;  // for its guest
  sys::OwnedFd client_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Relay>> live_;
  std::function<void()> on_drained_;
};

}  // namespace weir::gateway
