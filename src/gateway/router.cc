#include "gateway/router.h"

#include "policy/compiled/admit.h"

namespace weir::gateway {

namespace {

constexpr net::Port kDnsPort = 53;

}  // namespace

void Router::on_packet(Bytes bytes) {
  const auto packet = wire::parse_packet(bytes);
  if (!packet) return;
  const wire::PacketKind kind = wire::classify(*packet);
  // What the guest's kernel says to its link by itself is no attempt of anybody.
  if (kind == wire::PacketKind::housekeeping || kind == wire::PacketKind::other_tcp) return;
  if (!from_guest(*packet)) return refuse_foreign_source(*packet);
  switch (kind) {
    case wire::PacketKind::syn:
      return flows_.on_syn(*packet);
    case wire::PacketKind::udp:
      return on_udp(*packet);
    case wire::PacketKind::echo_request:
      return datagrams_.on_packet(*packet);
    case wire::PacketKind::bad_syn:
    case wire::PacketKind::refused:
      return refuser_.refuse(*packet, policy::Reason::protocol);
    case wire::PacketKind::housekeeping:
    case wire::PacketKind::other_tcp:
      return;
  }
}

void Router::on_udp(const wire::Packet& packet) {
  const auto udp = wire::parse_udp(packet);
  const bool dns = udp && udp->destination_port == kDnsPort;
  if (dns && !policy::passes_port_53(image_, packet.destination, net::Protocol::udp)) {
    return resolver_.serve_datagram({packet.source, udp->source_port}, {packet.destination, kDnsPort}, udp->payload);
  }
  datagrams_.on_packet(packet);
}

bool Router::from_guest(const wire::Packet& packet) const {
  return packet.source == world_.guest4 || packet.source == world_.guest6;
}

// A guest may bind a source that is not its own (IPV6_FREEBIND needs no capability). A SYN is reset, the rest dropped.
void Router::refuse_foreign_source(const wire::Packet& packet) {
  if (packet.transport == wire::Transport::tcp) return refuser_.refuse(packet, policy::Reason::protocol);
  refuser_.record(packet, policy::Reason::protocol);
}

}  // namespace weir::gateway
