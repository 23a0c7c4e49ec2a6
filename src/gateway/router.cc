#include "gateway/router.h"

#include <array>

namespace weir::gateway {

namespace {

constexpr net::Port kDnsPort = 53;

control::Refused::Via via_of(wire::Transport transport) {
  switch (transport) {
    case wire::Transport::tcp:
      return control::Refused::Via::tcp;
    case wire::Transport::udp:
      return control::Refused::Via::udp;
    case wire::Transport::icmp:
      return control::Refused::Via::icmp;
    case wire::Transport::other:
      return control::Refused::Via::other;
  }
  return control::Refused::Via::other;
}

net::Port destination_port(const wire::Packet& packet) {
  if (const auto tcp = wire::parse_tcp(packet)) return tcp->destination_port;
  if (const auto udp = wire::parse_udp(packet)) return udp->destination_port;
  return 0;
}

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
    case wire::PacketKind::bad_syn:
    case wire::PacketKind::echo_request:
    case wire::PacketKind::refused:
      return refuse(*packet, policy::Reason::protocol);
    case wire::PacketKind::housekeeping:
    case wire::PacketKind::other_tcp:
      return;
  }
}

void Router::on_udp(const wire::Packet& packet) {
  const auto udp = wire::parse_udp(packet);
  if (udp && udp->destination_port == kDnsPort) {
    return resolver_.serve_datagram({packet.source, udp->source_port}, {packet.destination, kDnsPort}, udp->payload);
  }
  refuse(packet, policy::Reason::protocol);
}

bool Router::from_guest(const wire::Packet& packet) const {
  return packet.source == world_.guest4 || packet.source == world_.guest6;
}

void Router::refuse(const wire::Packet& packet, policy::Reason reason) {
  record(packet, reason);
  if (!may_answer_now()) return;
  std::array<std::uint8_t, wire::kMaxAnswer> buffer;
  const bool tcp = packet.transport == wire::Transport::tcp;
  tun_.write(wire::answer(packet, tcp ? wire::Refusal::reset : wire::Refusal::prohibited, buffer));
}

// A guest may bind a source that is not its own (IPV6_FREEBIND needs no capability). A SYN is reset, the rest dropped.
void Router::refuse_foreign_source(const wire::Packet& packet) {
  if (packet.transport == wire::Transport::tcp) return refuse(packet, policy::Reason::protocol);
  record(packet, policy::Reason::protocol);
}

void Router::record(const wire::Packet& packet, policy::Reason reason) {
  link_.send(control::Refused{.via = via_of(packet.transport),
                              .destination = {packet.destination, destination_port(packet)},
                              .reason = static_cast<std::uint8_t>(reason)});
}

bool Router::may_answer_now() {
  const std::uint64_t second = reactor_.now_ms() / 1000;
  if (second != second_) answers_ = 0;
  second_ = second;
  return answers_++ < kAnswersPerSecond;
}

}  // namespace weir::gateway
