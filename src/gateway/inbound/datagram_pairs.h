// Clients of published UDP ports, and the datagrams that came before their sockets did.
//
// What a client sends first waits at the port's own socket, where the supervisor has seen who it is from. It says which
// flow that is, one datagram at a time, and this process takes exactly that one.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "control/gateway_messages.h"
#include "gateway/idle_sweep.h"
#include "gateway/inbound/datagram_pair.h"
#include "gateway/link.h"

namespace weir::gateway {

class DatagramPairs {
 public:
  // Datagrams kept for clients without sockets: of one of them, and bytes of all.
  static constexpr std::size_t kMaxHeld = 64;
  static constexpr std::size_t kMaxHeldBytes = 1 << 20;
  // When half of what there may be is there, a client that is not established and was silent for so long makes room for
  // others: it asked once and was answered, or its address was forged.
  static constexpr std::uint64_t kCrowdedIdleMs = 3000;
  static constexpr std::uint64_t kFullIdleMs = 10'000;

  // `meter`: of what comes in at published ports. `idle_timeout_ms`: how long a client may be without a datagram.
  // `most`: clients that there may be.
  DatagramPairs(sys::Reactor& reactor, Link& link, Meter& meter, std::uint64_t idle_timeout_ms, std::uint64_t most);

  void start() {
    sweep_.start([this] { end_idle(); });
  }

  void on(const control::InboundPort& message, sys::OwnedFd socket);
  void on(const control::InboundTake& message);
  void on(const control::InboundGone& message);
  // Its sockets.
  void open(std::uint64_t flow, sys::OwnedFd client, sys::OwnedFd guest);
  // Ends at once: nothing more goes either way. False if there is no such flow here.
  bool cut(std::uint64_t flow);
  // `most`: as in the constructor. Both never become more.
  void narrow(std::uint64_t idle_timeout_ms, std::uint64_t most) {
    sweep_.change_timeout(idle_timeout_ms);
    most_ = std::min(most_, most);
  }
  // The guest's processes are gone: what they sent goes out, and every client ends.
  void drain();

 private:
  using Held = std::vector<std::vector<std::uint8_t>>;

  ReceiveBatch& received();
  void hold(std::uint64_t flow, Bytes message);
  Held release(std::uint64_t flow);
  void end(std::uint64_t flow);
  void ended(std::uint64_t flow, const DatagramPair::End& end);
  void end_idle();

  sys::Reactor& reactor_;
  Link& link_;
  Meter& meter_;
  IdleSweep sweep_;
  std::uint64_t most_;
  std::unique_ptr<ReceiveBatch> received_;  // only where there are such ports
  std::unordered_map<std::uint16_t, DatagramSocket> ports_;
  std::unordered_map<std::uint64_t, Held> held_;
  std::size_t held_bytes_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<DatagramPair>> live_;
};

}  // namespace weir::gateway
