// The SYN state machine: from the first packet of a connection to its relay (dataplane.md sections 2-4).
//
//   seen SYN ──Connect──> asking ──refused/failed──> answered with RST or ICMP, forgotten
//                            │  └─silent upstream──> silent; the guest's own timer speaks
//                            └──connected──> injected: the SYN is written back, tproxy delivers it to the listener
//   injected ──accept with this 4-tuple──> claimed: a relay (or a resolver session) owns both sockets
//            └──2 s without accept──────> the client gave up: the upstream is reset
//
// An accepted socket counts only if its 4-tuple is an injected attempt, once. Nothing is dialled because of an accepted
// socket.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "control/gateway_messages.h"
#include "gateway/idle_sweep.h"
#include "gateway/link.h"
#include "gateway/resolver/resolver.h"
#include "gateway/tcp/relay.h"
#include "gateway/tun.h"
#include "sys/socket_address.h"
#include "wire/packet.h"

namespace weir::gateway {

// A guest's connection: who and to where.
struct FourTuple {
  net::Endpoint guest;
  net::Endpoint destination;

  friend bool operator==(const FourTuple&, const FourTuple&) = default;
};

struct FourTupleHash {
  std::size_t operator()(const FourTuple& tuple) const noexcept;
};

class FlowTable : public sys::EventHandler {
 public:
  // SYNs that wait for an answer or an accept: the listener's backlog, beyond which the kernel drops SYNs silently.
  static constexpr std::size_t kMaxAttempts = 4096;

  // `meter`: of the flows. `idle_timeout_ms`: how long a flow may be without a byte.
  FlowTable(sys::Reactor& reactor, Link& link, Tun& tun, Resolver& resolver, RelayContext& context, Meter& meter,
            sys::OwnedFd listener, std::uint64_t idle_timeout_ms);
  ~FlowTable() override;

  // Connections to these destinations end in the gateway itself: no SYN of theirs is asked about. Before start().
  struct Local {
    std::function<bool(const net::Endpoint&)> is_here;
    std::function<void(sys::OwnedFd guest, const net::Endpoint& here)> serve;
  };
  void serve_here(Local local) { local_ = std::move(local); }
  Result<> start();

  // A SYN (wire::PacketKind::syn) from weir0 whose source is the guest's own address.
  void on_syn(const wire::Packet& packet);
  void on_answer(const control::ConnectAnswer& answer, sys::OwnedFd upstream);
  void on_answer(const control::FlightAnswer& answer);

  // The flow lost its permission: both its ends are reset, and that is reported. Nothing happens where it is over.
  void cut(std::uint64_t flow);
  void change_idle_timeout(std::uint64_t ms) { sweep_.change_timeout(ms); }

  // A connection that an explicit proxy was asked for and the supervisor has made, under its flow number: from here on
  // it is a flow like any other, which begins with the bytes `received` from the guest.
  enum class FirstFlight : std::uint8_t { free, held };
  struct Adopted {
    std::uint64_t flow = 0;
    sys::OwnedFd guest;
    sys::OwnedFd upstream;
    FirstFlight first_flight = FirstFlight::held;
    net::Port port = 0;  // of the destination
  };
  void adopt(Adopted tunnel, Bytes received);

  // The guest's processes are gone: ends each flow when what was sent has gone up, then calls `on_drained`.
  void drain(std::function<void()> on_drained);

  // The listener is readable.
  void on_events(std::uint32_t events) override;

 private:
  // silent: the upstream did not answer in time, and so nothing is said; repeated SYNs are no new attempts.
  enum class State : std::uint8_t { asking, injected, silent };
  struct Attempt {
    State state = State::asking;
    std::uint64_t flow = 0;
    std::uint32_t sequence = 0;  // the SYN's initial sequence number
    std::vector<std::uint8_t> syn;
    sys::OwnedFd upstream;
    bool hold = false;
    bool resolver = false;
    bool local = false;
    sys::Reactor::TimerId timer = 0;
  };
  struct Live {
    FourTuple tuple;
    std::uint32_t sequence = 0;
    std::unique_ptr<Relay> relay;
  };

  void begin(const FourTuple& tuple, std::uint32_t sequence, const wire::Packet& packet);
  void ask(FourTuple tuple, control::Resolution resolution);
  void inject(const FourTuple& tuple, Attempt& attempt);
  void refuse(const FourTuple& tuple, wire::Refusal how);
  void stay_silent(const FourTuple& tuple, Attempt& attempt);
  void forget(const FourTuple& tuple);
  void give_up(const FourTuple& tuple, int error);
  void accept_failed(int error);
  void accepted(sys::OwnedFd guest, const sys::SocketAddress& peer);
  void claim(const FourTuple& tuple, Attempt attempt, sys::OwnedFd guest);
  void run_relay(const FourTuple& tuple, std::uint32_t sequence, Adopted flow, Bytes received);
  void relay_ended(std::uint64_t flow, const Relay::End& end);
  void end_idle();

  sys::Reactor& reactor_;
  Link& link_;
  Tun& tun_;
  Resolver& resolver_;
  sys::OwnedFd listener_;
  IdleSweep sweep_;
  Local local_;
  RelayContext& context_;
  Meter& meter_;
  std::unordered_map<FourTuple, Attempt, FourTupleHash> attempts_;
  std::size_t injected_ = 0;                             // of the attempts: connections that accept() will return
  std::unordered_map<std::uint64_t, FourTuple> asking_;  // flow -> attempt
  std::unordered_map<std::uint64_t, Live> live_;
  std::unordered_map<FourTuple, std::uint64_t, FourTupleHash> claimed_;
  std::function<void()> on_drained_;
};

}  // namespace weir::gateway
