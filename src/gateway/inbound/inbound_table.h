// Connections from outside to published ports: two sockets that the supervisor hands over, and the bytes between them.
//
// Nothing is asked and nothing is dialled: the client's socket is connected to whoever came, the guest's to a port
// inside. Neither can be made to lead elsewhere by a process that may not connect.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "control/gateway_messages.h"
#include "gateway/idle_sweep.h"
#include "gateway/link.h"
#include "gateway/tcp/relay.h"

namespace weir::gateway {

class InboundTable {
 public:
  // `meter`: of these connections alone. `idle_timeout_ms`: how long one may be without a byte.
  InboundTable(sys::Reactor& reactor, Link& link, RelayContext& context, Meter& meter, std::uint64_t idle_timeout_ms);
  ~InboundTable();

  void start() {
    sweep_.start([this] { end_idle(); });
  }

  // The flow lost its permission: both its ends are reset, and that is reported. False if there is no such flow here.
  bool cut(std::uint64_t flow);
  void change_idle_timeout(std::uint64_t ms) { sweep_.change_timeout(ms); }

  // The two messages of a connection, one right after the other.
  void on(const control::InboundClient& message, sys::OwnedFd client);
  void on(const control::InboundGuest& message, sys::OwnedFd guest);

  // The guest's processes are gone: each connection ends when what they sent has gone out; then, and whenever there is
  // none left again, `on_drained` is called.
  void drain(std::function<void()> on_drained);
  bool empty() const { return live_.empty(); }

 private:
  void ended(std::uint64_t flow, const Relay::End& end);
  void end_idle();

  sys::Reactor& reactor_;
  Link& link_;
  IdleSweep sweep_;
  RelayContext& context_;
  Meter& meter_;
  std::uint64_t client_flow_ = 0;  // whose client waits for its guest
  sys::OwnedFd client_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Relay>> live_;
  std::function<void()> on_drained_;
};

}  // namespace weir::gateway
