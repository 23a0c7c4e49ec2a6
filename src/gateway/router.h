// What becomes of a packet from weir0: the one place that tells protocols apart.
#pragma once

#include "control/gateway_messages.h"
#include "gateway/datagram/datagram_table.h"
#include "gateway/refuser.h"
#include "gateway/resolver/resolver.h"
#include "gateway/tcp/flow_table.h"
#include "policy/compiled/image.h"
#include "wire/packet.h"

namespace weir::gateway {

class Router {
 public:
  Router(Refuser& refuser, Resolver& resolver, FlowTable& flows, DatagramTable& datagrams, const policy::Image& image,
         const control::Start& world)
      : refuser_(refuser), resolver_(resolver), flows_(flows), datagrams_(datagrams), image_(image), world_(world) {}

  void on_packet(Bytes bytes);

 private:
  void on_udp(const wire::Packet& packet);
  void refuse_foreign_source(const wire::Packet& packet);
  bool from_guest(const wire::Packet& packet) const;

  Refuser& refuser_;
  Resolver& resolver_;
  FlowTable& flows_;
  DatagramTable& datagrams_;
  const policy::Image& image_;  // the gateway's, which changes
  control::Start world_;
};

}  // namespace weir::gateway
