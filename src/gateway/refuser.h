// What the guest is told of packets that go nowhere.
#pragma once

#include "gateway/link.h"
#include "gateway/tun.h"
#include "policy/compiled/verdict.h"
#include "wire/packet.h"

namespace weir::gateway {

class Refuser {
 public:
  // ICMP errors a second for datagrams that were refused or failed: a flood is answered, not amplified.
  static constexpr unsigned kAnswersPerSecond = 200;

  Refuser(sys::Reactor& reactor, Link& link, Tun& tun) : reactor_(reactor), link_(link), tun_(tun) {}

  // The gateway refuses by itself: recorded and answered.
  void refuse(const wire::Packet& packet, policy::Reason reason);
  void record(const wire::Packet& packet, policy::Reason reason);
  // Somebody else has recorded what became of it, or there is nothing to record.
  void answer(const wire::Packet& packet, wire::Refusal how);

 private:
  bool may_answer_now();

  sys::Reactor& reactor_;
  Link& link_;
  Tun& tun_;
  std::uint64_t second_ = 0;
  unsigned answers_ = 0;
};

// What is said of an upstream that failed with `error`, an errno.
wire::Refusal refusal_for(std::uint32_t error);

}  // namespace weir::gateway
