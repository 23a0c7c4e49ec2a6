// What becomes of a packet from weir0: the one place that tells protocols apart.
#pragma once

#include <unordered_map>

#include "control/gateway_messages.h"
#include "gateway/link.h"
#include "gateway/resolver/resolver.h"
#include "gateway/tcp/flow_table.h"
#include "gateway/tun.h"
#include "policy/compiled/verdict.h"
#include "wire/packet.h"

namespace weir::gateway {

class Router {
 public:
  // ICMP errors a second for refused datagrams: a flood is answered, not amplified.
  static constexpr unsigned kAnswersPerSecond = 200;

  Router(sys::Reactor& reactor, Link& link, Tun& tun, Resolver& resolver, FlowTable& flows, const control::Start& world)
      : reactor_(reactor), link_(link), tun_(tun), resolver_(resolver), flows_(flows), world_(world) {}

  void on_packet(Bytes bytes);

 private:
  void on_udp(const wire::Packet& packet);
  void refuse(const wire::Packet& packet, policy::Reason reason);
  void refuse_foreign_source(const wire::Packet& packet);
  void record(const wire::Packet& packet, policy::Reason reason);
  bool from_guest(const wire::Packet& packet) const;
  bool may_answer_now();

  sys::Reactor& reactor_;
  Link& link_;
  Tun& tun_;
  Resolver& resolver_;
  FlowTable& flows_;
  control::Start world_;
  std::uint64_t second_ = 0;
  unsigned answers_ = 0;
};

}  // namespace weir::gateway
