#include "gateway/datagram/dialect.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include <cerrno>

namespace weir::gateway {

namespace {

constexpr std::size_t kIcmpHeader = 8;

constexpr bool prohibits_v4(std::uint8_t code) {
  return code == ICMP_NET_ANO || code == ICMP_HOST_ANO || code == ICMP_PKT_FILTERED;
}

}  // namespace

std::optional<Datagram> datagram_of(const wire::Packet& packet) {
  if (const auto udp = wire::parse_udp(packet)) {
    return Datagram{.key = {.protocol = net::Protocol::udp,
                            .tuple = {.guest = {packet.source, udp->source_port},
                                      .destination = {packet.destination, udp->destination_port}}},
                    .message = udp->payload};
  }
  if (const auto echo = wire::parse_echo_request(packet)) {
    return Datagram{
        .key = {.protocol = net::Protocol::icmp,
                .tuple = {.guest = {packet.source, echo->identifier}, .destination = {packet.destination, 0}}},
        .message = packet.upper};
  }
  return std::nullopt;
}

std::size_t payload_size(net::Protocol protocol, Bytes message) {
  return protocol == net::Protocol::icmp ? message.size() - kIcmpHeader : message.size();
}

Bytes packet_for_guest(const DatagramKey& key, Bytes message, MutableBytes buffer) {
  const auto& [guest, destination] = key.tuple;
  if (key.protocol == net::Protocol::udp) return wire::udp_packet(destination, guest, message, buffer);
  auto echo = wire::parse_echo_reply(message, guest.address.is_v4() ? 4 : 6);
  if (!echo) return {};
  echo->identifier = guest.port;
  return wire::icmp_echo_reply(destination.address, guest.address, *echo, buffer);
}

std::optional<wire::Refusal> refusal_of(const sock_extended_err& error) {
  const bool v4 = error.ee_origin == SO_EE_ORIGIN_ICMP && error.ee_type == ICMP_DEST_UNREACH;
  const bool v6 = error.ee_origin == SO_EE_ORIGIN_ICMP6 && error.ee_type == ICMP6_DST_UNREACH;
  if ((!v4 && !v6) || error.ee_errno == EMSGSIZE) return std::nullopt;
  if (v4 && prohibits_v4(error.ee_code)) return wire::Refusal::prohibited;
  switch (error.ee_errno) {
    case ECONNREFUSED:
    case ENOPROTOOPT:
      return wire::Refusal::port_unreachable;
    case ENETUNREACH:
      return wire::Refusal::net_unreachable;
    case EACCES:
      return wire::Refusal::prohibited;
    default:
      return wire::Refusal::host_unreachable;
  }
}

Bytes packet_of_guest(const DatagramKey& key, Bytes message, MutableBytes buffer) {
  const auto& [guest, destination] = key.tuple;
  if (key.protocol == net::Protocol::udp) return wire::udp_packet(guest, destination, {}, buffer);
  wire::IcmpEcho echo{.identifier = guest.port, .sequence = 0, .data = {}};
  if (message.size() >= kIcmpHeader) echo.sequence = static_cast<std::uint16_t>(message[6] << 8 | message[7]);
  return wire::icmp_echo_request(guest.address, destination.address, echo, buffer);
}

}  // namespace weir::gateway
