#include "wire/packet.h"

#include <algorithm>

#include "wire/checksum.h"
#include "wire/ip_numbers.h"

namespace weir::wire {

namespace {

constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kIpv6Header = 40;
// More extension headers than any sender has a reason for; the walk is linear in it.
constexpr int kMaxExtensionHeaders = 8;

std::uint16_t u16_at(Bytes bytes, std::size_t offset) {
  return static_cast<std::uint16_t>((bytes[offset] << 8) | bytes[offset + 1]);
}
std::uint32_t u32_at(Bytes bytes, std::size_t offset) {
  return (static_cast<std::uint32_t>(u16_at(bytes, offset)) << 16) | u16_at(bytes, offset + 2);
}

net::IpAddress v4_at(Bytes bytes, std::size_t offset) {
  return net::IpAddress::v4(u32_at(bytes, offset));
}
net::IpAddress v6_at(Bytes bytes, std::size_t offset) {
  net::IpAddress::V6 octets{};
  std::ranges::copy(bytes.subspan(offset, octets.size()), octets.begin());
  return net::IpAddress::v6(octets);
}

Transport transport_of(std::uint8_t protocol, std::uint8_t icmp_of_family) {
  if (protocol == ip_number::kTcp) return Transport::tcp;
  if (protocol == ip_number::kUdp) return Transport::udp;
  if (protocol == icmp_of_family) return Transport::icmp;
  return Transport::other;
}

std::optional<Packet> parse_ipv4(Bytes bytes) {
  if (bytes.size() < kIpv4Header) return std::nullopt;
  const std::size_t header_size = static_cast<std::size_t>(bytes[0] & 0x0f) * 4;
  const std::size_t total = u16_at(bytes, 2);
  if (header_size < kIpv4Header || total < header_size || total > bytes.size()) return std::nullopt;
  if (checksum_of(bytes.first(header_size)) != 0) return std::nullopt;
  Packet packet;
  packet.version = 4;
  packet.bytes = bytes.first(total);
  packet.ip_header = bytes.first(header_size);
  packet.upper = packet.bytes.subspan(header_size);
  packet.malformed = header_size != kIpv4Header;
  const std::uint16_t fragment = u16_at(bytes, 6);
  if ((fragment & 0x1fff) != 0) {
    packet.fragment = Fragment::later;
  } else if ((fragment & 0x2000) != 0) {
    packet.fragment = Fragment::first;
  }
  packet.hop_limit = bytes[8];
  packet.protocol = bytes[9];
  packet.transport = transport_of(packet.protocol, ip_number::kIcmp);
  packet.source = v4_at(bytes, 12);
  packet.destination = v4_at(bytes, 16);
  return packet;
}

bool is_extension_header(std::uint8_t number) {
  using namespace ip_number;
  return number == kHopByHop || number == kRouting || number == kFragment || number == kDestinationOptions;
}

// Follows the extension headers as far as they are understood, so that an ICMP error or a later fragment behind them
// is seen for what it is. A header that is cut short ends the walk.
void skip_extension_headers(Packet& packet) {
  for (int i = 0; i < kMaxExtensionHeaders && is_extension_header(packet.protocol); ++i) {
    if (packet.upper.size() < 8) return;
    const bool is_fragment_header = packet.protocol == ip_number::kFragment;
    const std::size_t size = is_fragment_header ? 8 : (static_cast<std::size_t>(packet.upper[1]) + 1) * 8;
    if (packet.upper.size() < size) return;
    if (is_fragment_header) {
      const std::uint16_t field = u16_at(packet.upper, 2);
      packet.fragment = (field & 0xfff8) != 0 ? Fragment::later : Fragment::first;
    }
    packet.protocol = packet.upper[0];
    packet.upper = packet.upper.subspan(size);
    // What follows a later fragment's header is the middle of something: its bytes are no header.
    if (packet.fragment == Fragment::later) return;
  }
}

std::optional<Packet> parse_ipv6(Bytes bytes) {
  if (bytes.size() < kIpv6Header) return std::nullopt;
  const std::size_t payload = u16_at(bytes, 4);
  if (payload > bytes.size() - kIpv6Header) return std::nullopt;
  // A jumbogram (RFC 2675) states 0; so does nothing else that matters here.
  if (payload == 0 && bytes[6] == ip_number::kHopByHop) return std::nullopt;
  Packet packet;
  packet.version = 6;
  packet.bytes = bytes.first(kIpv6Header + payload);
  packet.ip_header = bytes.first(kIpv6Header);
  packet.upper = packet.bytes.subspan(kIpv6Header);
  packet.protocol = bytes[6];
  packet.hop_limit = bytes[7];
  packet.source = v6_at(bytes, 8);
  packet.destination = v6_at(bytes, 24);
  // Mapped addresses never stand in a packet (RFC 4291 2.5.5.2); judged as IPv4 they would be answered as IPv6.
  if (packet.source.is_v4() || packet.destination.is_v4()) return std::nullopt;
  if (is_extension_header(packet.protocol)) {
    skip_extension_headers(packet);
    packet.transport = Transport::other;
  } else {
    packet.transport = transport_of(packet.protocol, ip_number::kIcmp6);
  }
  return packet;
}

// IGMP and the part of ICMPv6 that keeps a link alive: sent by the guest's kernel, not by a program that wants out.
bool is_housekeeping(const Packet& packet) {
  if (packet.version == 4) return packet.protocol == ip_number::kIgmp;
  if (packet.protocol != ip_number::kIcmp6 || packet.is_fragment() || packet.upper.empty()) return false;
  const std::uint8_t type = packet.upper[0];
  // MLD 130-132 (RFC 2710) and 143 (RFC 9777), neighbour and router discovery 133-136 (RFC 4861 4).
  return (type >= 130 && type <= 136) || type == 143;
}

}  // namespace

std::optional<Packet> parse_packet(Bytes bytes) {
  if (bytes.empty() || bytes.size() > kMaxPacket) return std::nullopt;
  switch (bytes[0] >> 4) {
    case 4:
      return parse_ipv4(bytes);
    case 6:
      return parse_ipv6(bytes);
    default:
      return std::nullopt;
  }
}

std::optional<TcpHeader> parse_tcp(const Packet& packet) {
  const Bytes upper = packet.upper;
  if (packet.transport != Transport::tcp || packet.is_fragment() || upper.size() < 20) return std::nullopt;
  TcpHeader header;
  header.header_size = static_cast<std::size_t>(upper[12] >> 4) * 4;
  if (header.header_size < 20 || header.header_size > upper.size()) return std::nullopt;
  header.source_port = u16_at(upper, 0);
  header.destination_port = u16_at(upper, 2);
  header.sequence = u32_at(upper, 4);
  header.acknowledgement = u32_at(upper, 8);
  header.flags = upper[13];
  header.payload = upper.subspan(header.header_size);
  return header;
}

std::optional<UdpHeader> parse_udp(const Packet& packet) {
  const Bytes upper = packet.upper;
  if (packet.transport != Transport::udp || packet.is_fragment() || upper.size() < 8) return std::nullopt;
  const std::size_t length = u16_at(upper, 4);
  if (length < 8 || length > upper.size()) return std::nullopt;
  return UdpHeader{u16_at(upper, 0), u16_at(upper, 2), upper.subspan(8, length - 8)};
}

std::optional<IcmpEcho> parse_echo_request(const Packet& packet) {
  const Bytes upper = packet.upper;
  if (packet.transport != Transport::icmp || packet.is_fragment() || upper.size() < 8) return std::nullopt;
  const std::uint8_t request = packet.version == 4 ? icmp_type::kEchoRequest : icmp6_type::kEchoRequest;
  if (upper[0] != request || upper[1] != 0) return std::nullopt;
  return IcmpEcho{u16_at(upper, 4), u16_at(upper, 6), upper.subspan(8)};
}

std::optional<IcmpEcho> parse_echo_reply(Bytes message, std::uint8_t version) {
  const std::uint8_t reply = version == 4 ? icmp_type::kEchoReply : icmp6_type::kEchoReply;
  if (message.size() < 8 || message[0] != reply || message[1] != 0) return std::nullopt;
  return IcmpEcho{u16_at(message, 4), u16_at(message, 6), message.subspan(8)};
}

PacketKind classify(const Packet& packet) {
  if (is_housekeeping(packet)) return PacketKind::housekeeping;
  switch (packet.transport) {
    case Transport::tcp: {
      const auto header = parse_tcp(packet);
      // A fragment of a SYN must not pass for "other TCP": that would be dropped without an answer.
      if (!header) return packet.is_fragment() ? PacketKind::refused : PacketKind::other_tcp;
      if (!header->is_syn()) return PacketKind::other_tcp;
      return packet.malformed ? PacketKind::bad_syn : PacketKind::syn;
    }
    case Transport::udp:
      return !packet.malformed && parse_udp(packet) ? PacketKind::udp : PacketKind::refused;
    case Transport::icmp:
      return !packet.malformed && parse_echo_request(packet) ? PacketKind::echo_request : PacketKind::refused;
    case Transport::other:
      return PacketKind::refused;
  }
  return PacketKind::refused;
}

}  // namespace weir::wire
