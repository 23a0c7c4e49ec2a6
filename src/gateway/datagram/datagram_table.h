// UDP and ICMP echo: the first datagram of a flow asks the supervisor, which judges, records, and passes a socket that
// is connected to the admitted address; the rest is carried between that socket and weir0 until the flow is idle.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "control/gateway_messages.h"
#include "gateway/datagram/datagram_flow.h"
#include "gateway/idle_sweep.h"
#include "gateway/link.h"
#include "gateway/resolver/resolver.h"
#include "policy/compiled/image.h"

namespace weir::gateway {

class DatagramTable {
 public:
  // Flows that wait for an answer; the first datagram of a further one is lost, and its sender tries again.
  static constexpr std::size_t kMaxAsking = 1024;
  // What a flow that waits keeps: a client's first flight. More is lost, as behind a slow link.
  static constexpr std::size_t kMaxHeldPackets = 16;
  static constexpr std::size_t kMaxHeldBytes = 4 << 20;  // of all of them
  // A datagram has no end by which a flow could be known to be over, so that one ends also where the policy sets no
  // limit (RFC 4787 4.3 recommends this much).
  static constexpr std::uint64_t kIdleWithoutLimitMs = 300'000;
  static constexpr std::uint64_t kLongestSweepMs = 5000;  // between two looks for idle ones

  DatagramTable(sys::Reactor& reactor, Link& link, Tun& tun, Resolver& resolver, Refuser& refuser, Meter& meter,
                std::uint64_t idle_timeout_ms)
      : reactor_(reactor),
        link_(link),
        resolver_(resolver),
        refuser_(refuser),
        sweep_(reactor, within_limit(idle_timeout_ms), kLongestSweepMs),
        context_{.reactor = reactor, .tun = tun, .refuser = refuser, .meter = meter} {}

  void start() {
    sweep_.start([this] { end_idle(); });
  }

  // A whole UDP datagram or echo request from weir0 whose source is the guest's own address.
  void on_packet(const wire::Packet& packet);

  // Sends what on_packet() took since the last time. To be called at the end of each round.
  void flush() {
    if (!context_.train.empty()) context_.train.flow()->send_train();
  }

  // Whether this flow number was asked with here.
  bool asked(std::uint64_t number) const {
    const auto found = numbers_.find(number);
    return found != numbers_.end() && asking_.contains(found->second);
  }
  void on_answer(const control::ConnectAnswer& answer, sys::OwnedFd socket);

  // The flow lost its permission: its socket is closed, what waits is not sent, and that is reported. False if there is
  // no such flow here.
  bool cut(std::uint64_t number);
  void change_idle_timeout(std::uint64_t ms) { sweep_.change_timeout(within_limit(ms)); }

  // The guest's processes are gone: every flow ends.
  void drain();

 private:
  // A flow that was asked for: its packets until the answer.
  struct Asking {
    std::uint64_t number = 0;
    std::vector<std::vector<std::uint8_t>> held;
  };

  static std::uint64_t within_limit(std::uint64_t idle_timeout_ms) {
    return idle_timeout_ms == policy::Limits::kUnlimited ? kIdleWithoutLimitMs : idle_timeout_ms;
  }
  void hold(Asking& asking, const wire::Packet& packet);
  void ask(const DatagramKey& key, control::Resolution resolution);
  void resolve(const DatagramKey& key, const net::DomainName& name);
  void open(const DatagramKey& key, sys::OwnedFd socket);
  void refuse(const DatagramKey& key, wire::Refusal how);
  Asking take_out(const DatagramKey& key);
  void close(const DatagramKey& key);
  void ended(std::unique_ptr<DatagramFlow> flow, int error);
  void end_idle();

  sys::Reactor& reactor_;
  Link& link_;
  Resolver& resolver_;
  Refuser& refuser_;
  IdleSweep sweep_;
  DatagramContext context_;
  std::unordered_map<DatagramKey, std::unique_ptr<DatagramFlow>, DatagramKeyHash> flows_;
  std::unordered_map<DatagramKey, Asking, DatagramKeyHash> asking_;
  std::unordered_map<std::uint64_t, DatagramKey> numbers_;  // of asking_ and flows_
  std::size_t held_bytes_ = 0;
};

}  // namespace weir::gateway
