// Any bytes as a packet from the TUN: parsed, classified, and answered in every way. What is written must be a packet.
#include <array>
#include <vector>

#include "base/error.h"
#include "wire/checksum.h"
#include "wire/packet.h"

namespace {

using namespace weir;
using namespace weir::wire;

void check_sound(Bytes written, const Packet& cause) {
  if (written.empty()) return;
  const auto packet = parse_packet(written);
  WEIR_ASSERT(packet.has_value());
  WEIR_ASSERT(packet->bytes.size() == written.size());
  WEIR_ASSERT(packet->version == cause.version);
  const bool icmp4 = packet->transport == Transport::icmp && packet->version == 4;
  WEIR_ASSERT(0 == (icmp4 ? checksum_of(packet->upper)
                          : transport_checksum(packet->source, packet->destination, packet->protocol, packet->upper)));
}

void check(const Packet& packet) {
  std::array<std::uint8_t, kMaxAnswer> out{};
  for (const Refusal refusal : {Refusal::reset, Refusal::host_unreachable, Refusal::net_unreachable,
                                Refusal::prohibited, Refusal::port_unreachable}) {
    const Bytes reply = answer(packet, refusal, out);
    check_sound(reply, packet);
    WEIR_ASSERT(reply.empty() || may_answer(packet));
  }
  const Bytes cut = syn_without_payload(packet, out);
  check_sound(cut, packet);
  WEIR_ASSERT(cut.empty() == (classify(packet) != PacketKind::syn));
  if (const auto echo = parse_echo_request(packet)) {
    std::vector<std::uint8_t> large(kMaxPacket);
    const Bytes reply = icmp_echo_reply(packet.destination, packet.source, *echo, large);
    check_sound(reply, packet);
    WEIR_ASSERT(reply.empty() ||
                parse_echo_reply(parse_packet(reply)->upper, packet.version)->data.size() == echo->data.size());
    const Bytes request = icmp_echo_request(packet.source, packet.destination, *echo, large);
    check_sound(request, packet);
    WEIR_ASSERT(request.empty() || classify(*parse_packet(request)) == PacketKind::echo_request);
  }
  if (const auto udp = parse_udp(packet)) {
    std::vector<std::uint8_t> large(kMaxPacket);
    check_sound(
        udp_packet({packet.destination, udp->destination_port}, {packet.source, udp->source_port}, udp->payload, large),
        packet);
  }
}

}  // namespace

// The first byte says whether the IPv4 header checksum is made right, which a fuzzer does not guess.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 21) return 0;
  std::vector<std::uint8_t> bytes(data + 1, data + size);
  const std::size_t header_size = static_cast<std::size_t>(bytes[0] & 0x0f) * 4;
  if ((data[0] & 1) != 0 && bytes[0] >> 4 == 4 && header_size >= 20 && header_size <= bytes.size()) {
    bytes[10] = bytes[11] = 0;
    const std::uint16_t sum = checksum_of(Bytes(bytes).first(header_size));
    bytes[10] = static_cast<std::uint8_t>(sum >> 8);
    bytes[11] = static_cast<std::uint8_t>(sum);
  }
  if (const auto packet = parse_packet(bytes)) check(*packet);
  // What a ping socket reads is as much the network's.
  for (const std::uint8_t version : {std::uint8_t{4}, std::uint8_t{6}}) {
    const auto echo = parse_echo_reply(bytes, version);
    WEIR_ASSERT(!echo || echo->data.size() + 8 == bytes.size());
  }
  return 0;
}
