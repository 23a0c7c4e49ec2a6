#include "wire/packet.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "wire/checksum.h"
#include "wire_test_bytes.h"

namespace weir::wire {
namespace {

using net::Endpoint;
using net::IpAddress;

IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

// A packet of the test's own making: what the kernel would write to a TUN.
struct Sketch {
  IpAddress source = ip("10.254.0.1");
  IpAddress destination = ip("192.0.2.7");
  std::uint8_t protocol = 6;
  std::vector<std::uint8_t> upper;
  std::vector<std::uint8_t> ip_options;  // IPv4, a multiple of four bytes
  std::uint16_t fragment_field = 0;      // IPv4
  std::size_t checksum_at = SIZE_MAX;    // in `upper`, filled in with the pseudo header

  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> body = upper;
    if (checksum_at != SIZE_MAX) {
      const auto sum = transport_checksum(source, destination, protocol, body);
      body[checksum_at] = static_cast<std::uint8_t>(sum >> 8);
      body[checksum_at + 1] = static_cast<std::uint8_t>(sum);
    }
    std::vector<std::uint8_t> packet(kMaxPacket);
    ByteWriter writer(packet);
    if (source.is_v4()) {
      writer.u8(static_cast<std::uint8_t>(0x45 + ip_options.size() / 4));
      writer.u8(0);
      writer.u16(static_cast<std::uint16_t>(20 + ip_options.size() + body.size()));
      writer.u16(7);
      writer.u16(fragment_field);
      writer.u8(63);
      writer.u8(protocol);
      writer.u16(0);
      writer.u32(source.v4_bits());
      writer.u32(destination.v4_bits());
      writer.bytes(ip_options);
      writer.patch_u16(10, checksum_of(writer.written()));
    } else {
      writer.u32(0x60000000);
      writer.u16(static_cast<std::uint16_t>(body.size()));
      writer.u8(protocol);
      writer.u8(63);
      writer.bytes(source.bytes());
      writer.bytes(destination.bytes());
    }
    writer.bytes(body);
    packet.resize(writer.size());
    return packet;
  }
};

std::vector<std::uint8_t> tcp_segment(std::uint8_t flags, std::size_t option_words = 0, std::string_view data = "") {
  std::vector<std::uint8_t> segment = {0xa0, 0x01, 0x01, 0xbb, 0x11, 0x22, 0x33, 0x44, 0, 0,
                                       0,    0,    0,    0,    0xff, 0xff, 0,    0,    0, 0};
  segment[12] = static_cast<std::uint8_t>((5 + option_words) << 4);
  segment[13] = flags;
  for (std::size_t i = 0; i < option_words * 4; ++i) segment.push_back(1);
  segment.insert(segment.end(), data.begin(), data.end());
  return segment;
}

Sketch syn4(std::size_t option_words = 0, std::string_view data = "") {
  Sketch sketch;
  sketch.upper = tcp_segment(tcp_flag::kSyn, option_words, data);
  sketch.checksum_at = 16;
  return sketch;
}

Sketch to_v6(Sketch sketch) {
  sketch.source = ip("fd00:77::1");
  sketch.destination = ip("2001:db8::7");
  return sketch;
}

Sketch udp_sketch(std::string_view data = "hello") {
  Sketch sketch;
  sketch.protocol = 17;
  sketch.upper = {0x30, 0x39, 0x00, 0x35, 0x00, static_cast<std::uint8_t>(8 + data.size()), 0, 0};
  sketch.upper.insert(sketch.upper.end(), data.begin(), data.end());
  sketch.checksum_at = 6;
  return sketch;
}

Sketch echo4(std::uint8_t type = 8) {
  Sketch sketch;
  sketch.protocol = 1;
  sketch.upper = {type, 0, 0, 0, 0x12, 0x34, 0x00, 0x05, 'p', 'i', 'n', 'g'};
  const auto sum = checksum_of(sketch.upper);
  sketch.upper[2] = static_cast<std::uint8_t>(sum >> 8);
  sketch.upper[3] = static_cast<std::uint8_t>(sum);
  return sketch;
}

Sketch echo6(std::uint8_t type = 128) {
  Sketch sketch = to_v6(echo4(type));
  sketch.upper[2] = sketch.upper[3] = 0;
  sketch.protocol = 58;
  sketch.checksum_at = 2;
  return sketch;
}

// Whatever a builder writes must be a packet with right checksums that this room itself reads.
void expect_sound(Bytes bytes) {
  const auto packet = parse_packet(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->bytes.size(), bytes.size());
  EXPECT_FALSE(packet->malformed);
  if (packet->transport == Transport::icmp && packet->version == 4) {
    EXPECT_EQ(checksum_of(packet->upper), 0);
  } else {
    EXPECT_EQ(transport_checksum(packet->source, packet->destination, packet->protocol, packet->upper), 0);
  }
}

TEST(Checksum, AgreesWithRfc1071) {
  const std::vector<std::uint8_t> example = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum_of(example), static_cast<std::uint16_t>(~0xddf2));
  EXPECT_EQ(checksum_of(std::vector<std::uint8_t>{0x12}), static_cast<std::uint16_t>(~0x1200));
  EXPECT_EQ(checksum_of({}), 0xffff);
}

TEST(Checksum, DoesNotDependOnHowItIsCut) {
  std::vector<std::uint8_t> bytes(1001);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 37 + 200);
  std::uint64_t slow = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) slow += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
  while (slow >> 16) slow = (slow & 0xffff) + (slow >> 16);
  for (std::size_t cut = 0; cut < bytes.size(); cut += 2) {
    Checksum checksum;
    checksum.add(Bytes(bytes).first(cut));
    checksum.add(Bytes(bytes).subspan(cut));
    ASSERT_EQ(checksum.value(), static_cast<std::uint16_t>(~slow)) << cut;
  }
}

// Packets whose checksums another implementation computed: ours cannot be wrong in the same way twice.
TEST(Checksum, AgreesWithForeignPackets) {
  for (const char* hex :
       {"45000041000700004006adaa0afe0001c0000207a00101bb1122334400000000a002ffff44030000020405b40402080a"
        "0000000100000000010303076561726c79",
        "60000000000d1140fd00007700000000000000000000000120010db800000000000000000000000730390035000d605b"
        "68656c6c6f",
        "60000000000c3a40fd00007700000000000000000000000120010db800000000000000000000000780006376123400"
        "0570696e67"}) {
    const auto bytes = from_hex(hex);
    expect_sound(bytes);
  }
}

TEST(ParsePacket, ReadsBothFamilies) {
  const auto bytes4 = syn4(2, "data").bytes();
  const auto packet4 = parse_packet(bytes4);
  ASSERT_TRUE(packet4);
  EXPECT_EQ(packet4->version, 4);
  EXPECT_EQ(packet4->source, ip("10.254.0.1"));
  EXPECT_EQ(packet4->destination, ip("192.0.2.7"));
  EXPECT_EQ(packet4->transport, Transport::tcp);
  EXPECT_EQ(packet4->hop_limit, 63);
  const auto tcp = parse_tcp(*packet4);
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->source_port, 40961);
  EXPECT_EQ(tcp->destination_port, 443);
  EXPECT_EQ(tcp->sequence, 0x11223344u);
  EXPECT_EQ(tcp->header_size, 28u);
  EXPECT_EQ(as_text(tcp->payload), "data");

  const auto bytes6 = to_v6(udp_sketch()).bytes();
  const auto packet6 = parse_packet(bytes6);
  ASSERT_TRUE(packet6);
  EXPECT_EQ(packet6->version, 6);
  EXPECT_EQ(packet6->destination, ip("2001:db8::7"));
  const auto udp = parse_udp(*packet6);
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->source_port, 12345);
  EXPECT_EQ(udp->destination_port, 53);
  EXPECT_EQ(as_text(udp->payload), "hello");
}

TEST(ParsePacket, TruncatedAnywhereIsNothing) {
  for (const auto& sketch : {syn4(2, "data"), to_v6(syn4(2, "data")), udp_sketch(), echo4(), echo6()}) {
    const auto bytes = sketch.bytes();
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(parse_packet(exact_copy(Bytes(bytes).first(size))->bytes())) << size;
    }
  }
}

TEST(ParsePacket, BytesBehindTheStatedLengthAreNotPartOfIt) {
  auto bytes = udp_sketch().bytes();
  const std::size_t size = bytes.size();
  bytes.insert(bytes.end(), {'x', 'x', 'x'});
  ASSERT_TRUE(parse_packet(bytes));
  EXPECT_EQ(parse_packet(bytes)->bytes.size(), size);
}

TEST(ParsePacket, RefusesNonsense) {
  auto change = [](const Sketch& sketch, std::size_t at, std::uint8_t value) {
    auto bytes = sketch.bytes();
    bytes[at] = value;
    return bytes;
  };
  EXPECT_FALSE(parse_packet(change(syn4(), 0, 0x55))) << "version 5";
  EXPECT_FALSE(parse_packet(change(syn4(), 0, 0x44))) << "IHL 4";
  EXPECT_FALSE(parse_packet(change(syn4(), 10, 0xff))) << "header checksum";
  EXPECT_FALSE(parse_packet(change(syn4(), 2, 0xff))) << "total length above the packet's";
  EXPECT_FALSE(parse_packet(change(syn4(), 3, 10))) << "total length below the header's";
  EXPECT_FALSE(parse_packet(change(to_v6(syn4()), 4, 0xff))) << "payload length above the packet's";
  Sketch mapped = to_v6(syn4());
  auto bytes = mapped.bytes();
  const auto inner = ip("192.0.2.7").bytes();
  std::copy(inner.begin(), inner.end(), bytes.begin() + 24);
  EXPECT_FALSE(parse_packet(bytes)) << "mapped destination";
  Sketch jumbo = to_v6(Sketch{});
  jumbo.protocol = 0;
  EXPECT_FALSE(parse_packet(jumbo.bytes())) << "jumbogram";
}

TEST(ParseUpper, RefusesLengthsThatContradictThemselves) {
  Sketch sketch = syn4();
  for (const std::uint8_t offset : std::initializer_list<std::uint8_t>{0x00, 0x40, 0x60, 0xf0}) {
    sketch.upper[12] = offset;
    EXPECT_FALSE(parse_tcp(*parse_packet(sketch.bytes()))) << int{offset};
    EXPECT_EQ(classify(*parse_packet(sketch.bytes())), PacketKind::other_tcp);
  }
  for (std::size_t size = 0; size < 20; ++size) {
    sketch = syn4();
    sketch.upper.resize(size);
    sketch.checksum_at = SIZE_MAX;
    EXPECT_FALSE(parse_tcp(*parse_packet(sketch.bytes()))) << size;
  }
  Sketch udp = udp_sketch();
  udp.upper[5] = 7;
  EXPECT_FALSE(parse_udp(*parse_packet(udp.bytes())));
  udp.upper[5] = 14;
  EXPECT_FALSE(parse_udp(*parse_packet(udp.bytes())));
  udp.upper[5] = 10;
  EXPECT_EQ(as_text(parse_udp(*parse_packet(udp.bytes()))->payload), "he");
  Sketch echo = echo4();
  echo.upper.resize(7);
  EXPECT_FALSE(parse_echo_request(*parse_packet(echo.bytes())));
  EXPECT_FALSE(parse_echo_request(*parse_packet(echo4(0).bytes()))) << "a reply";
}

TEST(Classify, KnowsASynByItsFlags) {
  struct Row {
    std::uint8_t flags;
    PacketKind kind;
  };
  for (const Row row :
       {Row{0x02, PacketKind::syn}, Row{0xc2, PacketKind::syn}, Row{0x42, PacketKind::syn}, Row{0x0a, PacketKind::syn},
        Row{0x22, PacketKind::syn}, Row{0x12, PacketKind::other_tcp}, Row{0x03, PacketKind::other_tcp},
        Row{0x06, PacketKind::other_tcp}, Row{0x10, PacketKind::other_tcp}, Row{0x04, PacketKind::other_tcp},
        Row{0x00, PacketKind::other_tcp}, Row{0xff, PacketKind::other_tcp}}) {
    Sketch sketch = syn4();
    sketch.upper[13] = row.flags;
    EXPECT_EQ(classify(*parse_packet(sketch.bytes())), row.kind) << int{row.flags};
    EXPECT_EQ(classify(*parse_packet(to_v6(sketch).bytes())), row.kind) << int{row.flags};
  }
}

TEST(Classify, OptionsFragmentsAndExtensionHeadersAreNeverForwarded) {
  Sketch sketch = syn4();
  sketch.ip_options = {1, 1, 1, 0};
  const auto with_options = sketch.bytes();
  EXPECT_TRUE(parse_packet(with_options)->malformed);
  EXPECT_EQ(classify(*parse_packet(with_options)), PacketKind::bad_syn);
  Sketch udp = udp_sketch();
  udp.ip_options = {1, 1, 1, 0};
  EXPECT_EQ(classify(*parse_packet(udp.bytes())), PacketKind::refused);
  for (const std::uint16_t field : std::initializer_list<std::uint16_t>{0x2000, 0x0001, 0x2001}) {
    for (Sketch fragment : {syn4(), udp_sketch(), echo4()}) {
      fragment.fragment_field = field;
      const auto bytes = fragment.bytes();
      EXPECT_EQ(classify(*parse_packet(bytes)), PacketKind::refused) << field;
      EXPECT_EQ(parse_packet(bytes)->fragment, field == 0x2000 ? Fragment::first : Fragment::later);
    }
  }
  Sketch dont_fragment = udp_sketch();
  dont_fragment.fragment_field = 0x4000;
  EXPECT_EQ(classify(*parse_packet(dont_fragment.bytes())), PacketKind::udp);
}

// Puts `header` (its first byte is filled in) in front of a v6 sketch's upper layer.
Sketch behind(std::uint8_t number, std::vector<std::uint8_t> header, Sketch sketch) {
  header[0] = sketch.protocol;
  sketch.upper.insert(sketch.upper.begin(), header.begin(), header.end());
  sketch.protocol = number;
  sketch.checksum_at = SIZE_MAX;
  return sketch;
}

TEST(Classify, ExtensionHeadersAreFollowedButNeverAccepted) {
  const std::vector<std::uint8_t> plain(8, 0);
  for (const std::uint8_t number : std::initializer_list<std::uint8_t>{0, 43, 60}) {
    const auto bytes = behind(number, plain, to_v6(syn4())).bytes();
    const auto packet = parse_packet(bytes);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->transport, Transport::other);
    EXPECT_EQ(packet->protocol, 6);
    EXPECT_EQ(classify(*packet), PacketKind::refused);
    std::array<std::uint8_t, kMaxAnswer> out{};
    EXPECT_FALSE(answer(*packet, Refusal::reset, out).empty());
  }
  const auto first = behind(44, {0, 0, 0, 1, 0, 0, 0, 9}, to_v6(udp_sketch())).bytes();
  EXPECT_EQ(parse_packet(first)->fragment, Fragment::first);
  const auto later = behind(44, {0, 0, 0, 8, 0, 0, 0, 9}, to_v6(udp_sketch())).bytes();
  EXPECT_EQ(parse_packet(later)->fragment, Fragment::later);
  EXPECT_FALSE(may_answer(*parse_packet(later)));
  const auto hidden_error = behind(60, plain, echo6(1)).bytes();
  EXPECT_FALSE(may_answer(*parse_packet(hidden_error)));
  const auto hidden_echo = behind(60, plain, echo6()).bytes();
  EXPECT_TRUE(may_answer(*parse_packet(hidden_echo)));
  Sketch endless = to_v6(syn4());
  for (int i = 0; i < 100; ++i) endless = behind(60, plain, endless);
  EXPECT_EQ(classify(*parse_packet(endless.bytes())), PacketKind::refused);
}

TEST(Classify, KnowsTheRest) {
  EXPECT_EQ(classify(*parse_packet(echo4().bytes())), PacketKind::echo_request);
  EXPECT_EQ(classify(*parse_packet(echo6().bytes())), PacketKind::echo_request);
  EXPECT_EQ(classify(*parse_packet(echo4(13).bytes())), PacketKind::refused);
  EXPECT_EQ(classify(*parse_packet(echo6(8).bytes())), PacketKind::refused);
  for (const std::uint8_t type : std::initializer_list<std::uint8_t>{130, 131, 132, 133, 134, 135, 136, 143}) {
    EXPECT_EQ(classify(*parse_packet(echo6(type).bytes())), PacketKind::housekeeping) << int{type};
  }
  const std::vector<std::uint8_t> router_alert = {0, 0, 5, 2, 0, 0, 1, 0};
  EXPECT_EQ(classify(*parse_packet(behind(0, router_alert, echo6(143)).bytes())), PacketKind::housekeeping);
  Sketch igmp = echo4();
  igmp.protocol = 2;
  EXPECT_EQ(classify(*parse_packet(igmp.bytes())), PacketKind::housekeeping);
  Sketch gre = echo4();
  gre.protocol = 47;
  EXPECT_EQ(classify(*parse_packet(gre.bytes())), PacketKind::refused);
  Sketch wrong_family = echo4();
  wrong_family.protocol = 58;
  EXPECT_EQ(classify(*parse_packet(wrong_family.bytes())), PacketKind::refused);
}

TEST(RstForSyn, AcknowledgesTheIsnOnly) {
  for (const Sketch& sketch : {syn4(), syn4(5, "early data"), to_v6(syn4(0, "early data"))}) {
    const auto bytes = sketch.bytes();
    std::array<std::uint8_t, kMaxAnswer> out{};
    const Bytes reply = rst_for_syn(*parse_packet(bytes), out);
    expect_sound(reply);
    const auto packet = *parse_packet(reply);
    EXPECT_EQ(packet.source, sketch.destination);
    EXPECT_EQ(packet.destination, sketch.source);
    const auto tcp = *parse_tcp(packet);
    EXPECT_EQ(tcp.source_port, 443);
    EXPECT_EQ(tcp.destination_port, 40961);
    EXPECT_EQ(tcp.flags, tcp_flag::kRst | tcp_flag::kAck);
    EXPECT_EQ(tcp.sequence, 0u);
    EXPECT_EQ(tcp.acknowledgement, 0x11223345u);
    EXPECT_TRUE(tcp.payload.empty());
  }
}

TEST(RstForSyn, AnswersASynWithIpOptionsAndWrapsTheSequence) {
  Sketch sketch = syn4();
  sketch.ip_options = {1, 1, 1, 0};
  for (std::size_t i = 4; i < 8; ++i) sketch.upper[i] = 0xff;
  const auto bytes = sketch.bytes();
  std::array<std::uint8_t, kMaxAnswer> out{};
  const Bytes reply = rst_for_syn(*parse_packet(bytes), out);
  expect_sound(reply);
  EXPECT_EQ(parse_tcp(*parse_packet(reply))->acknowledgement, 0u);
}

TEST(Answer, FollowsTheTable) {
  enum class Want { rst, icmp };
  struct Row {
    Sketch sketch;
    Refusal refusal;
    Want want;
    int type;
    int code;
  };
  const auto syn6 = to_v6(syn4());
  const auto udp6 = to_v6(udp_sketch());
  const std::vector<Row> rows = {
      {syn4(), Refusal::reset, Want::rst, 0, 0},
      {syn4(), Refusal::port_unreachable, Want::rst, 0, 0},
      {syn4(), Refusal::host_unreachable, Want::icmp, 3, 1},
      {syn4(), Refusal::net_unreachable, Want::icmp, 3, 0},
      {syn4(), Refusal::prohibited, Want::icmp, 3, 13},
      {syn6, Refusal::reset, Want::rst, 0, 0},
      {syn6, Refusal::host_unreachable, Want::icmp, 1, 3},
      {syn6, Refusal::net_unreachable, Want::icmp, 1, 0},
      {syn6, Refusal::prohibited, Want::icmp, 1, 1},
      {udp_sketch(), Refusal::prohibited, Want::icmp, 3, 13},
      {udp_sketch(), Refusal::port_unreachable, Want::icmp, 3, 3},
      {udp_sketch(), Refusal::reset, Want::icmp, 3, 3},
      {udp6, Refusal::prohibited, Want::icmp, 1, 1},
      {udp6, Refusal::port_unreachable, Want::icmp, 1, 4},
      {udp6, Refusal::reset, Want::icmp, 1, 4},
      {echo4(), Refusal::prohibited, Want::icmp, 3, 13},
      {echo4(), Refusal::reset, Want::icmp, 3, 13},
      {echo6(), Refusal::prohibited, Want::icmp, 1, 1},
      {echo6(), Refusal::port_unreachable, Want::icmp, 1, 1},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto bytes = rows[i].sketch.bytes();
    std::array<std::uint8_t, kMaxAnswer> out{};
    const Bytes reply = answer(*parse_packet(bytes), rows[i].refusal, out);
    expect_sound(reply);
    const auto packet = *parse_packet(reply);
    EXPECT_EQ(packet.source, rows[i].sketch.destination) << i;
    EXPECT_EQ(packet.destination, rows[i].sketch.source) << i;
    if (rows[i].want == Want::rst) {
      EXPECT_EQ(packet.transport, Transport::tcp) << i;
      continue;
    }
    ASSERT_EQ(packet.transport, Transport::icmp) << i;
    EXPECT_EQ(packet.upper[0], rows[i].type) << i;
    EXPECT_EQ(packet.upper[1], rows[i].code) << i;
  }
}

TEST(Answer, QuotesWhatTheFamilyWants) {
  const std::string big(3000, 'x');
  auto bytes4 = syn4(0, big).bytes();
  std::array<std::uint8_t, kMaxAnswer> out{};
  Bytes quote = parse_packet(icmp_error(*parse_packet(bytes4), Refusal::prohibited, out))->upper.subspan(8);
  EXPECT_EQ(to_string(quote), to_string(Bytes(bytes4).first(28)));
  auto bytes6 = to_v6(syn4(0, big)).bytes();
  const Bytes error6 = icmp_error(*parse_packet(bytes6), Refusal::prohibited, out);
  EXPECT_EQ(error6.size(), kMaxAnswer);
  quote = parse_packet(error6)->upper.subspan(8);
  EXPECT_EQ(to_string(quote), to_string(Bytes(bytes6).first(1232)));
  Sketch tiny = echo4();
  tiny.protocol = 47;
  tiny.upper.resize(3);
  const auto bytes = tiny.bytes();
  EXPECT_EQ(icmp_error(*parse_packet(bytes), Refusal::prohibited, out).size(), 20u + 8 + 23);
}

TEST(Answer, IsSilentWhereAnAnswerWouldBeWrong) {
  std::array<std::uint8_t, kMaxAnswer> out{};
  const auto silent = [&](const Sketch& sketch) {
    const auto bytes = sketch.bytes();
    const auto packet = parse_packet(bytes);
    EXPECT_TRUE(packet);
    return answer(*packet, Refusal::prohibited, out).empty() && answer(*packet, Refusal::reset, out).empty();
  };
  EXPECT_FALSE(silent(udp_sketch()));
  for (const char* address : {"224.0.0.1", "239.255.255.255", "255.255.255.255", "0.0.0.0"}) {
    Sketch sketch = udp_sketch();
    sketch.source = ip(address);
    EXPECT_TRUE(silent(sketch)) << address;
    sketch = udp_sketch();
    sketch.destination = ip(address);
    EXPECT_TRUE(silent(sketch)) << address;
    sketch = syn4();
    sketch.source = ip(address);
    EXPECT_TRUE(silent(sketch)) << address;
  }
  for (const char* address : {"ff02::1", "::"}) {
    Sketch sketch = to_v6(udp_sketch());
    sketch.source = ip(address);
    EXPECT_TRUE(silent(sketch)) << address;
    sketch = to_v6(syn4());
    sketch.destination = ip(address);
    EXPECT_TRUE(silent(sketch)) << address;
  }
  for (const std::uint8_t type : std::initializer_list<std::uint8_t>{3, 4, 5, 11, 12})
    EXPECT_TRUE(silent(echo4(type))) << int{type};
  for (const std::uint8_t type : std::initializer_list<std::uint8_t>{1, 2, 3, 4, 127, 137})
    EXPECT_TRUE(silent(echo6(type))) << int{type};
  for (Sketch sketch : {udp_sketch(), syn4(), echo4()}) {
    sketch.fragment_field = 0x0010;
    EXPECT_TRUE(silent(sketch));
    sketch.fragment_field = 0x2000;
    EXPECT_FALSE(silent(sketch));
  }
  Sketch ack = syn4();
  ack.upper[13] = tcp_flag::kAck;
  EXPECT_TRUE(silent(ack)) << "other TCP is dropped";
}

TEST(SynWithoutPayload, KeepsTheOptionsAndNothingElse) {
  for (const Sketch& sketch : {syn4(5, "early data"), to_v6(syn4(5, "early data")), syn4(), to_v6(syn4(10))}) {
    const auto bytes = sketch.bytes();
    const auto original = *parse_packet(bytes);
    std::array<std::uint8_t, kMaxAnswer> out{};
    const Bytes cut = syn_without_payload(original, out);
    expect_sound(cut);
    const auto packet = *parse_packet(cut);
    EXPECT_EQ(classify(packet), PacketKind::syn);
    EXPECT_TRUE(parse_tcp(packet)->payload.empty());
    const auto head = parse_tcp(original)->header_size;
    auto want = to_string(original.upper.first(head));
    auto got = to_string(packet.upper);
    want[16] = want[17] = got[16] = got[17] = 0;
    EXPECT_EQ(got, want);
    EXPECT_EQ(packet.source, original.source);
    EXPECT_EQ(packet.hop_limit, original.hop_limit);
  }
}

TEST(SynWithoutPayload, RefusesWhatMayNotBeWrittenBack) {
  std::array<std::uint8_t, kMaxAnswer> out{};
  Sketch sketch = syn4();
  sketch.ip_options = {1, 1, 1, 0};
  EXPECT_TRUE(syn_without_payload(*parse_packet(sketch.bytes()), out).empty());
  sketch = syn4();
  sketch.upper[13] = 0x12;
  EXPECT_TRUE(syn_without_payload(*parse_packet(sketch.bytes()), out).empty());
  EXPECT_TRUE(syn_without_payload(*parse_packet(udp_sketch().bytes()), out).empty());
}

TEST(UdpPacket, IsReadBack) {
  std::vector<std::uint8_t> out(kMaxPacket);
  struct Row {
    const char* source;
    const char* destination;
  };
  for (const Row row : {Row{"192.0.2.1", "10.254.0.1"}, Row{"2001:db8::1", "fd00:77::1"}}) {
    for (const std::size_t size : {0u, 1u, 2u, 3u, 512u, 1472u, 9001u}) {
      const std::string payload(size, 'd');
      const Bytes bytes = udp_packet({ip(row.source), 53}, {ip(row.destination), 4000}, as_bytes(payload), out);
      expect_sound(bytes);
      const auto udp = parse_udp(*parse_packet(bytes));
      ASSERT_TRUE(udp);
      EXPECT_EQ(udp->source_port, 53);
      EXPECT_EQ(udp->destination_port, 4000);
      EXPECT_EQ(to_string(udp->payload), payload);
    }
  }
}

TEST(UdpPacket, NeverSendsChecksumZero) {
  std::vector<std::uint8_t> out(kMaxPacket);
  bool seen = false;
  for (unsigned word = 0; word <= 0xffff; ++word) {
    const std::array<std::uint8_t, 2> payload = {static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
    const Bytes bytes = udp_packet({ip("192.0.2.1"), 53}, {ip("10.254.0.1"), 4000}, payload, out);
    const bool all_ones = bytes[26] == 0xff && bytes[27] == 0xff;
    seen = seen || all_ones;
    ASSERT_FALSE(bytes[26] == 0 && bytes[27] == 0);
  }
  EXPECT_TRUE(seen);
}

TEST(Builders, WriteNothingWhereItDoesNotFit) {
  const auto syn = syn4(5, "early").bytes();
  const auto syn6 = to_v6(syn4(5, "early")).bytes();
  const std::vector<std::function<Bytes(MutableBytes)>> builders = {
      [&](MutableBytes out) { return rst_for_syn(*parse_packet(syn), out); },
      [&](MutableBytes out) { return rst_for_syn(*parse_packet(syn6), out); },
      [&](MutableBytes out) { return icmp_error(*parse_packet(syn), Refusal::prohibited, out); },
      [&](MutableBytes out) { return icmp_error(*parse_packet(syn6), Refusal::prohibited, out); },
      [&](MutableBytes out) { return syn_without_payload(*parse_packet(syn), out); },
      [&](MutableBytes out) { return syn_without_payload(*parse_packet(syn6), out); },
      [&](MutableBytes out) { return udp_packet({ip("192.0.2.1"), 1}, {ip("192.0.2.2"), 2}, as_bytes("abc"), out); },
      [&](MutableBytes out) { return icmp_echo_reply(ip("::2"), ip("::3"), {1, 2, as_bytes("abc")}, out); },
  };
  for (const auto& build : builders) {
    std::array<std::uint8_t, kMaxAnswer> out{};
    const std::size_t size = build(out).size();
    ASSERT_GT(size, 0u);
    for (std::size_t room = 0; room < size; ++room) {
      auto exact = exact_copy(Bytes(out).first(room));
      EXPECT_TRUE(build(exact->mutable_bytes()).empty()) << room;
    }
    auto exact = exact_copy(Bytes(out).first(size));
    EXPECT_EQ(build(exact->mutable_bytes()).size(), size);
  }
  std::vector<std::uint8_t> huge(70000);
  const std::vector<std::uint8_t> payload(70000);
  const Bytes all(payload);
  EXPECT_EQ(udp_packet({ip("192.0.2.1"), 1}, {ip("192.0.2.2"), 2}, all.first(65507), huge).size(), kMaxPacket);
  EXPECT_TRUE(udp_packet({ip("192.0.2.1"), 1}, {ip("192.0.2.2"), 2}, all.first(65508), huge).empty());
  EXPECT_TRUE(udp_packet({ip("192.0.2.1"), 1}, {ip("::2"), 2}, {}, huge).empty()) << "families differ";
}

TEST(IcmpEchoReply, IsReadFromAPingSocketAsItWasWritten) {
  for (const char* text : {"192.0.2.7", "2001:db8::7"}) {
    std::array<std::uint8_t, kMaxAnswer> out{};
    const auto written = parse_packet(icmp_echo_reply(ip(text), ip(text), {1, 2, as_bytes("abc")}, out));
    const std::uint8_t version = written->version;
    const auto echo = parse_echo_reply(written->upper, version);
    ASSERT_TRUE(echo);
    EXPECT_EQ(echo->identifier, 1);
    EXPECT_EQ(echo->sequence, 2);
    EXPECT_EQ(as_text(echo->data), "abc");
    EXPECT_FALSE(parse_echo_reply(written->upper, version == 4 ? 6 : 4)) << "the other family's";
    EXPECT_FALSE(parse_echo_reply(written->upper.first(7), version));
    const auto request = parse_packet(icmp_echo_request(ip(text), ip(text), {1, 2, as_bytes("abc")}, out));
    EXPECT_TRUE(parse_echo_request(*request));
    EXPECT_FALSE(parse_echo_reply(request->upper, version)) << "a request";
  }
}

TEST(IcmpEchoReply, MirrorsTheRequest) {
  std::array<std::uint8_t, kMaxAnswer> out{};
  for (const Sketch& sketch : {echo4(), echo6()}) {
    const auto bytes = sketch.bytes();
    const auto request = *parse_packet(bytes);
    const auto echo = parse_echo_request(request);
    ASSERT_TRUE(echo);
    EXPECT_EQ(echo->identifier, 0x1234);
    EXPECT_EQ(echo->sequence, 5);
    const Bytes reply = icmp_echo_reply(request.destination, request.source, *echo, out);
    expect_sound(reply);
    const auto packet = *parse_packet(reply);
    EXPECT_EQ(packet.upper[0], request.version == 4 ? 0 : 129);
    EXPECT_EQ(to_string(packet.upper.subspan(4)), to_string(request.upper.subspan(4)));
  }
}

}  // namespace
}  // namespace weir::wire
