#include "gateway/datagram/dialect.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

namespace weir::gateway {
namespace {

using wire::Refusal;

net::IpAddress ip(std::string_view text) {
  return *net::IpAddress::parse(text);
}

struct Family {
  const char* guest;
  const char* target;
  std::uint8_t request;
  std::uint8_t reply;
};
constexpr Family kFamilies[] = {{"10.254.0.2", "192.0.2.7", 8, 0}, {"fd77::2", "2001:db8::7", 128, 129}};

TEST(Dialect, AnEchoKeepsItsPayloadAndItsSequenceAndGetsTheGuestsIdentifier) {
  for (const Family& family : kFamilies) {
    std::vector<std::uint8_t> buffer(2048);
    const auto packet = wire::parse_packet(
        wire::icmp_echo_request(ip(family.guest), ip(family.target), {0x1234, 9, as_bytes("payload")}, buffer));
    const auto datagram = datagram_of(*packet);
    ASSERT_TRUE(datagram.has_value());
    EXPECT_EQ(datagram->key.protocol, net::Protocol::icmp);
    EXPECT_EQ(datagram->key.tuple.guest.port, 0x1234);
    EXPECT_EQ(datagram->key.tuple.destination.port, 0);
    EXPECT_EQ(datagram->message[0], family.request);
    EXPECT_EQ(payload_size(net::Protocol::icmp, datagram->message), 7u);
    // As the ping socket gives it: another identifier.
    const std::vector<std::uint8_t> answer = {family.reply, 0, 0, 0, 0xab, 0xcd, 0, 9, 'b', 'a', 'c', 'k'};
    std::vector<std::uint8_t> out(2048);
    const auto back = wire::parse_packet(packet_for_guest(datagram->key, answer, out));
    ASSERT_TRUE(back.has_value());
    const std::vector<std::uint8_t> wanted = {0x12, 0x34, 0, 9, 'b', 'a', 'c', 'k'};
    EXPECT_EQ(as_text(back->upper.subspan(4)), as_text(wanted));
    EXPECT_EQ(back->source, ip(family.target));
  }
}

TEST(Dialect, WhatIsNoEchoReplyIsNoPacket) {
  const DatagramKey key{.protocol = net::Protocol::icmp, .tuple = {.guest = {ip("10.254.0.2"), 1}, .destination = {}}};
  std::vector<std::uint8_t> buffer(2048);
  for (const std::vector<std::uint8_t>& message :
       {std::vector<std::uint8_t>{}, {0, 0, 0, 0, 0, 1, 0}, {8, 0, 0, 0, 0, 1, 0, 1}, {0, 1, 0, 0, 0, 1, 0, 1}}) {
    EXPECT_TRUE(packet_for_guest(key, message, buffer).empty());
  }
}

TEST(Dialect, ErrorsKeepTheirMeaning) {
  const auto of = [](int error, int origin, int type, int code) {
    sock_extended_err raw{};
    raw.ee_errno = static_cast<std::uint32_t>(error);
    raw.ee_origin = static_cast<std::uint8_t>(origin);
    raw.ee_type = static_cast<std::uint8_t>(type);
    raw.ee_code = static_cast<std::uint8_t>(code);
    return refusal_of(raw);
  };
  constexpr int kV4 = SO_EE_ORIGIN_ICMP, kV6 = SO_EE_ORIGIN_ICMP6;
  EXPECT_EQ(of(ECONNREFUSED, kV4, 3, 3), Refusal::port_unreachable);
  EXPECT_EQ(of(EHOSTUNREACH, kV4, 3, 1), Refusal::host_unreachable);
  EXPECT_EQ(of(ENETUNREACH, kV4, 3, 0), Refusal::net_unreachable);
  EXPECT_EQ(of(EHOSTUNREACH, kV4, 3, 13), Refusal::prohibited);
  EXPECT_EQ(of(ECONNREFUSED, kV6, 1, 4), Refusal::port_unreachable);
  EXPECT_EQ(of(EHOSTUNREACH, kV6, 1, 3), Refusal::host_unreachable);
  EXPECT_EQ(of(EACCES, kV6, 1, 1), Refusal::prohibited);
  // Path MTU, time exceeded, and what this machine says to itself.
  EXPECT_EQ(of(EMSGSIZE, kV4, 3, 4), std::nullopt);
  EXPECT_EQ(of(EMSGSIZE, kV6, 2, 0), std::nullopt);
  EXPECT_EQ(of(EHOSTUNREACH, kV4, 11, 0), std::nullopt);
  EXPECT_EQ(of(EMSGSIZE, SO_EE_ORIGIN_LOCAL, 0, 0), std::nullopt);
}

TEST(Dialect, AnErrorIsAboutThePacketThatTheGuestSent) {
  for (const Family& family : kFamilies) {
    std::vector<std::uint8_t> buffer(2048);
    const DatagramKey udp{.protocol = net::Protocol::udp,
                          .tuple = {.guest = {ip(family.guest), 4000}, .destination = {ip(family.target), 7}}};
    const auto sent = wire::parse_packet(packet_of_guest(udp, {}, buffer));
    EXPECT_EQ(datagram_of(*sent)->key, udp);
    const DatagramKey echo{.protocol = net::Protocol::icmp,
                           .tuple = {.guest = {ip(family.guest), 77}, .destination = {ip(family.target), 0}}};
    const std::vector<std::uint8_t> quoted = {family.request, 0, 0, 0, 0xab, 0xcd, 0, 9};
    const auto request = wire::parse_packet(packet_of_guest(echo, quoted, buffer));
    EXPECT_EQ(datagram_of(*request)->key, echo);
    EXPECT_EQ(wire::parse_echo_request(*request)->sequence, 9);
  }
}

}  // namespace
}  // namespace weir::gateway
