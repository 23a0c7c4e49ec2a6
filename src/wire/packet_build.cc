// The writing half of packet.h.
#include <algorithm>

#include "wire/checksum.h"
#include "wire/ip_numbers.h"
#include "wire/packet.h"

namespace weir::wire {

namespace {

constexpr std::uint8_t kHopLimit = 64;
constexpr std::size_t kIcmpHeader = 8;
constexpr std::size_t kUdpHeader = 8;
// RFC 792: the Internet header and the first 64 bits of the datagram. The kernel needs no more to find the socket.
constexpr std::size_t kQuotedUpperV4 = 8;
constexpr std::size_t kQuotedV6 = kMaxAnswer - 40 - kIcmpHeader;

std::size_t header_size_for(net::IpAddress address) {
  return address.is_v4() ? 20 : 40;
}

// Writes the IP header for `upper_size` bytes of `protocol` to come; IPv4 with DF, id 0 (RFC 6864 4.1).
void write_ip_header(ByteWriter& writer, net::IpAddress source, net::IpAddress destination, std::uint8_t protocol,
                     std::size_t upper_size) {
  if (!source.is_v4()) {
    writer.u32(0x60000000);
    writer.u16(static_cast<std::uint16_t>(upper_size));
    writer.u8(protocol);
    writer.u8(kHopLimit);
    writer.bytes(source.bytes());
    writer.bytes(destination.bytes());
    return;
  }
  writer.u16(0x4500);
  writer.u16(static_cast<std::uint16_t>(20 + upper_size));
  writer.u32(0x00004000);
  writer.u8(kHopLimit);
  writer.u8(protocol);
  writer.u16(0);
  writer.u32(source.v4_bits());
  writer.u32(destination.v4_bits());
  if (writer.ok()) writer.patch_u16(10, checksum_of(writer.written()));
}

bool fits(net::IpAddress source, net::IpAddress destination, std::size_t upper_size, MutableBytes buffer) {
  if (source.is_v4() != destination.is_v4()) return false;
  const std::size_t header = header_size_for(source);
  return upper_size <= kMaxPacket - header && header + upper_size <= buffer.size();
}

// Fills in the checksum of the upper layer that starts at `upper_offset` and ends the packet.
Bytes finish(ByteWriter& writer, std::size_t upper_offset, std::size_t checksum_offset, std::uint16_t checksum) {
  writer.patch_u16(upper_offset + checksum_offset, checksum);
  return writer.ok() ? writer.written() : Bytes{};
}

// An ICMP message of either family from its parts; `rest` are the four bytes behind the checksum.
Bytes icmp_message(net::IpAddress source, net::IpAddress destination, std::uint16_t type_and_code, std::uint32_t rest,
                   Bytes body, MutableBytes buffer) {
  const std::size_t upper_size = kIcmpHeader + body.size();
  if (!fits(source, destination, upper_size, buffer)) return {};
  const bool v4 = source.is_v4();
  const std::uint8_t protocol = v4 ? ip_number::kIcmp : ip_number::kIcmp6;
  ByteWriter writer(buffer);
  write_ip_header(writer, source, destination, protocol, upper_size);
  const std::size_t upper = writer.size();
  writer.u16(type_and_code);
  writer.u16(0);
  writer.u32(rest);
  writer.bytes(body);
  if (!writer.ok()) return {};
  const Bytes message = writer.written().subspan(upper);
  const std::uint16_t checksum = v4 ? checksum_of(message) : transport_checksum(source, destination, protocol, message);
  return finish(writer, upper, 2, checksum);
}

constexpr std::uint16_t type_and_code(std::uint8_t type, std::uint8_t code) {
  return static_cast<std::uint16_t>((type << 8) | code);
}

std::uint16_t unreachable_v4(Refusal refusal) {
  switch (refusal) {
    case Refusal::host_unreachable:
      return type_and_code(icmp_type::kUnreachable, 1);
    case Refusal::net_unreachable:
      return type_and_code(icmp_type::kUnreachable, 0);
    case Refusal::prohibited:
      return type_and_code(icmp_type::kUnreachable, 13);  // RFC 1812 5.2.7.1
    case Refusal::reset:
    case Refusal::port_unreachable:
      return type_and_code(icmp_type::kUnreachable, 3);
  }
  return type_and_code(icmp_type::kUnreachable, 13);
}

std::uint16_t unreachable_v6(Refusal refusal) {
  switch (refusal) {
    case Refusal::host_unreachable:
      return type_and_code(icmp6_type::kUnreachable, 3);
    case Refusal::net_unreachable:
      return type_and_code(icmp6_type::kUnreachable, 0);
    case Refusal::prohibited:
      return type_and_code(icmp6_type::kUnreachable, 1);
    case Refusal::reset:
    case Refusal::port_unreachable:
      return type_and_code(icmp6_type::kUnreachable, 4);
  }
  return type_and_code(icmp6_type::kUnreachable, 1);
}

bool is_one_host(net::IpAddress address) {
  if (address.is_v4()) {
    // 0.0.0.0, multicast 224.0.0.0/4 (RFC 5771), limited broadcast (RFC 919).
    const std::uint32_t bits = address.v4_bits();
    return bits != 0 && (bits >> 28) != 0xe && bits != 0xffffffff;
  }
  // ::, multicast ff00::/8 (RFC 4291 2.7).
  return address != net::IpAddress() && address.bytes()[0] != 0xff;
}

bool is_icmp_error(const Packet& packet) {
  if (packet.version == 6) {
    if (packet.protocol != ip_number::kIcmp6) return false;
    return packet.upper.empty() || packet.upper[0] < icmp6_type::kFirstInformational ||
           packet.upper[0] == icmp6_type::kRedirect;
  }
  if (packet.protocol != ip_number::kIcmp) return false;
  if (packet.upper.empty()) return true;  // it cannot be told, so it counts as one
  using namespace icmp_type;
  const std::uint8_t type = packet.upper[0];
  return type == kUnreachable || type == kSourceQuench || type == kRedirect || type == kTimeExceeded ||
         type == kParameterProblem;
}

}  // namespace

bool may_answer(const Packet& packet) {
  return is_one_host(packet.source) && is_one_host(packet.destination) && packet.fragment != Fragment::later &&
         !is_icmp_error(packet);
}

Bytes answer(const Packet& packet, Refusal refusal, MutableBytes buffer) {
  const bool ports = refusal == Refusal::reset || refusal == Refusal::port_unreachable;
  if (packet.transport == Transport::tcp && !packet.is_fragment()) {
    const auto header = parse_tcp(packet);
    if (!header || !header->is_syn()) return {};
    return ports ? rst_for_syn(packet, buffer) : icmp_error(packet, refusal, buffer);
  }
  const bool has_port = packet.transport == Transport::udp;
  return icmp_error(packet, ports && !has_port ? Refusal::prohibited : refusal, buffer);
}

Bytes rst_for_syn(const Packet& packet, MutableBytes buffer) {
  constexpr std::size_t kTcpHeader = 20;
  const auto syn = parse_tcp(packet);
  if (!syn || !syn->is_syn() || !may_answer(packet)) return {};
  if (!fits(packet.destination, packet.source, kTcpHeader, buffer)) return {};
  ByteWriter writer(buffer);
  write_ip_header(writer, packet.destination, packet.source, ip_number::kTcp, kTcpHeader);
  const std::size_t upper = writer.size();
  writer.u16(syn->destination_port);
  writer.u16(syn->source_port);
  writer.u32(0);
  writer.u32(syn->sequence + 1);
  writer.u8(0x50);
  writer.u8(tcp_flag::kRst | tcp_flag::kAck);
  writer.u16(0);
  writer.u32(0);
  return finish(
      writer, upper, 16,
      transport_checksum(packet.destination, packet.source, ip_number::kTcp, writer.written().subspan(upper)));
}

Bytes icmp_error(const Packet& packet, Refusal refusal, MutableBytes buffer) {
  if (!may_answer(packet)) return {};
  const bool v4 = packet.version == 4;
  const std::size_t quoted = v4 ? packet.ip_header.size() + kQuotedUpperV4 : kQuotedV6;
  return icmp_message(packet.destination, packet.source, v4 ? unreachable_v4(refusal) : unreachable_v6(refusal), 0,
                      packet.bytes.first(std::min(quoted, packet.bytes.size())), buffer);
}

Bytes syn_without_payload(const Packet& packet, MutableBytes buffer) {
  if (classify(packet) != PacketKind::syn) return {};
  const auto syn = parse_tcp(packet);
  const std::size_t upper = packet.ip_header.size();
  const std::size_t size = upper + syn->header_size;
  ByteWriter writer(buffer);
  writer.bytes(packet.bytes.first(size));
  if (!writer.ok()) return {};
  if (packet.version == 4) {
    writer.patch_u16(2, static_cast<std::uint16_t>(size));
    writer.patch_u16(10, 0);
    writer.patch_u16(10, checksum_of(writer.written().first(upper)));
  } else {
    writer.patch_u16(4, static_cast<std::uint16_t>(syn->header_size));
  }
  writer.patch_u16(upper + 16, 0);
  return finish(
      writer, upper, 16,
      transport_checksum(packet.source, packet.destination, ip_number::kTcp, writer.written().subspan(upper)));
}

Bytes udp_packet(net::Endpoint source, net::Endpoint destination, Bytes payload, MutableBytes buffer) {
  const std::size_t upper_size = kUdpHeader + payload.size();
  if (!fits(source.address, destination.address, upper_size, buffer)) return {};
  ByteWriter writer(buffer);
  write_ip_header(writer, source.address, destination.address, ip_number::kUdp, upper_size);
  const std::size_t upper = writer.size();
  writer.u16(source.port);
  writer.u16(destination.port);
  writer.u16(static_cast<std::uint16_t>(upper_size));
  writer.u16(0);
  writer.bytes(payload);
  const std::uint16_t checksum =
      transport_checksum(source.address, destination.address, ip_number::kUdp, writer.written().subspan(upper));
  // Zero means "no checksum" in UDP; its other spelling is sent instead (RFC 768).
  return finish(writer, upper, 6, checksum == 0 ? 0xffff : checksum);
}

namespace {

Bytes icmp_echo(std::uint8_t type, net::IpAddress source, net::IpAddress destination, const IcmpEcho& echo,
                MutableBytes buffer) {
  const std::uint32_t rest = (static_cast<std::uint32_t>(echo.identifier) << 16) | echo.sequence;
  return icmp_message(source, destination, type_and_code(type, 0), rest, echo.data, buffer);
}

}  // namespace

Bytes icmp_echo_request(net::IpAddress source, net::IpAddress destination, const IcmpEcho& echo, MutableBytes buffer) {
  const std::uint8_t type = source.is_v4() ? icmp_type::kEchoRequest : icmp6_type::kEchoRequest;
  return icmp_echo(type, source, destination, echo, buffer);
}

Bytes icmp_echo_reply(net::IpAddress source, net::IpAddress destination, const IcmpEcho& echo, MutableBytes buffer) {
  const std::uint8_t type = source.is_v4() ? icmp_type::kEchoReply : icmp6_type::kEchoReply;
  return icmp_echo(type, source, destination, echo, buffer);
}

}  // namespace weir::wire
