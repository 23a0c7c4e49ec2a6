#include "gateway/refuser.h"

#include <array>
#include <cerrno>

namespace weir::gateway {

namespace {

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

wire::Refusal refusal_for(std::uint32_t error) {
  switch (error) {
    case EHOSTUNREACH:
      return wire::Refusal::host_unreachable;
    case ENETUNREACH:
      return wire::Refusal::net_unreachable;
    case EACCES:
    case EPERM:
      return wire::Refusal::prohibited;
    default:
      return wire::Refusal::reset;
  }
}

void Refuser::refuse(const wire::Packet& packet, policy::Reason reason) {
  record(packet, reason);
  const bool tcp = packet.transport == wire::Transport::tcp;
  answer(packet, tcp ? wire::Refusal::reset : wire::Refusal::prohibited);
}

void Refuser::record(const wire::Packet& packet, policy::Reason reason) {
  link_.send(control::Refused{.via = via_of(packet.transport),
                              .destination = {packet.destination, destination_port(packet)},
                              .reason = static_cast<std::uint8_t>(reason)});
}

void Refuser::answer(const wire::Packet& packet, wire::Refusal how) {
  if (!may_answer_now()) return;
  std::array<std::uint8_t, wire::kMaxAnswer> buffer;
  tun_.write(wire::answer(packet, how, buffer));
}

bool Refuser::may_answer_now() {
  const std::uint64_t second = reactor_.now_ms() / 1000;
  if (second != second_) answers_ = 0;
  second_ = second;
  return answers_++ < kAnswersPerSecond;
}

}  // namespace weir::gateway
