// IP packets as the TUN device delivers and takes them (no link header, no virtio header).
//
// Reading: parse_packet() looks at the IP header only and hands out spans into the caller's buffer, which must outlive
// the Packet; parse_tcp/udp/icmp_echo() look one layer further. classify() says which treatment of dataplane.md
// sections 3 and 5 a packet gets.
//
// Writing: every builder writes one whole packet with complete checksums to the front of a caller's buffer and returns
// what it wrote. The buffer must not overlap the packet. An empty span means that nothing is to be sent: the packet
// must not be answered, or does not fit.
//
// Nothing here decides; nothing allocates.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "net/ip_address.h"

namespace weir::wire {

// What an IP length field can say, and the MTU of weir0. A read buffer of this size never truncates.
inline constexpr std::size_t kMaxPacket = 65535;
// The longest packet that answer() writes: an ICMPv6 error fills the minimum MTU (RFC 4443 2.4 c, RFC 8200 5).
inline constexpr std::size_t kMaxAnswer = 1280;

// `icmp` is ICMP in IPv4 and ICMPv6 in IPv6; ICMP of the wrong family is `other`.
enum class Transport : std::uint8_t { tcp, udp, icmp, other };
enum class Fragment : std::uint8_t { none, first, later };

struct Packet {
  std::uint8_t version = 0;  // 4 or 6; both addresses are of that family
  net::IpAddress source;
  net::IpAddress destination;
  // `other` whenever IPv6 extension headers stand before the upper layer.
  Transport transport = Transport::other;
  // The IP protocol number of the upper layer: behind the extension headers where they could be followed.
  std::uint8_t protocol = 0;
  std::uint8_t hop_limit = 0;
  Fragment fragment = Fragment::none;
  // IPv4 options are present: the packet may be answered, never forwarded or written back.
  bool malformed = false;
  Bytes bytes;      // the whole packet, cut to the length that its header states
  Bytes ip_header;  // without extension headers
  Bytes upper;      // the upper layer (or what follows the last header understood)

  bool is_fragment() const { return fragment != Fragment::none; }
};

// nullopt: not an IP packet that anything can be said about (short, inconsistent lengths, bad IPv4 header checksum, an
// IPv4-mapped address in an IPv6 header, jumbograms); drop it.
std::optional<Packet> parse_packet(Bytes bytes);

namespace tcp_flag {
inline constexpr std::uint8_t kFin = 0x01;
inline constexpr std::uint8_t kSyn = 0x02;
inline constexpr std::uint8_t kRst = 0x04;
inline constexpr std::uint8_t kAck = 0x10;
}  // namespace tcp_flag

struct TcpHeader {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgement = 0;
  std::uint8_t flags = 0;       // the low eight bits; AccECN's ninth is of no interest
  std::size_t header_size = 0;  // bytes, options included
  Bytes payload;

  // ECN and AccECN set other bits in a SYN; PSH and URG are no reason to treat it otherwise.
  bool is_syn() const {
    using namespace tcp_flag;
    return (flags & (kFin | kSyn | kRst | kAck)) == kSyn;
  }
};

struct UdpHeader {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  Bytes payload;
};

struct IcmpEcho {
  std::uint16_t identifier = 0;
  std::uint16_t sequence = 0;
  Bytes data;
};

// What a ping socket reads: an ICMP message of the family `version` (4 or 6), without an IP header. nullopt: no whole
// echo reply. Its checksum was the kernel's business.
std::optional<IcmpEcho> parse_echo_reply(Bytes message, std::uint8_t version);

// nullopt: another transport, a fragment, or a header that is short or contradicts itself.
std::optional<TcpHeader> parse_tcp(const Packet& packet);
std::optional<UdpHeader> parse_udp(const Packet& packet);
// Echo requests only.
std::optional<IcmpEcho> parse_echo_request(const Packet& packet);

enum class PacketKind : std::uint8_t {
  syn,           // ask admission; may be written back
  bad_syn,       // a SYN with IP options: RST, never written back
  other_tcp,     // dropped, never written back
  udp,           // a whole datagram
  echo_request,  // a whole ICMP echo request
  housekeeping,  // IGMP, MLD, neighbour and router discovery: dropped without a record
  refused,       // fragments, extension headers, other protocols, broken upper layers
};
PacketKind classify(const Packet& packet);

// What a refused or failed flow is told (dataplane.md section 4).
enum class Refusal : std::uint8_t { reset, host_unreachable, net_unreachable, prohibited, port_unreachable };

// The answer to `packet` with the meaning of `refusal` in its protocol and family:
//   TCP SYN: reset and port_unreachable are a RST, the others ICMP; any other TCP: nothing;
//   UDP: reset is port unreachable; protocols without ports: reset and port_unreachable are `prohibited`.
// Empty also for whatever may not be answered: see may_answer(). kMaxAnswer bytes always suffice.
Bytes answer(const Packet& packet, Refusal refusal, MutableBytes buffer);

// False for sources and destinations that are not one host (multicast, broadcast, unspecified), for ICMP errors and
// redirects, and for fragments but the first (RFC 1122 3.2.2, RFC 4443 2.4 e).
bool may_answer(const Packet& packet);

// RST+ACK, sequence 0, acknowledging ISN + 1. A payload of the SYN is not acknowledged: nobody took it.
// Empty if `packet` is no SYN.
Bytes rst_for_syn(const Packet& packet, MutableBytes buffer);

// ICMP destination unreachable with the family's code for `refusal` (`reset` counts as port_unreachable), from the
// destination of `packet` to its source, quoting IP header + 8 bytes (IPv6: as much as fits 1,280 bytes).
Bytes icmp_error(const Packet& packet, Refusal refusal, MutableBytes buffer);

// The same SYN, options kept, its payload cut, lengths and checksums made right. Empty unless classify() says `syn`.
Bytes syn_without_payload(const Packet& packet, MutableBytes buffer);

// Empty if the families differ or the datagram would be longer than kMaxPacket.
Bytes udp_packet(net::Endpoint source, net::Endpoint destination, Bytes payload, MutableBytes buffer);
Bytes icmp_echo_request(net::IpAddress source, net::IpAddress destination, const IcmpEcho& echo, MutableBytes buffer);
Bytes icmp_echo_reply(net::IpAddress source, net::IpAddress destination, const IcmpEcho& echo, MutableBytes buffer);

}  // namespace weir::wire
