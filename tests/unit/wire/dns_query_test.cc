// The guest's side: parse_query, build_response, build_error.
#include <gtest/gtest.h>

#include "dns_test_message.h"
#include "wire/dns.h"
#include "wire_test_bytes.h"

namespace weir::wire::dns {
namespace {

using net::IpAddress;

IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

Message query_for(std::string_view name, unsigned type = type::kA) {
  return Message(0x1234, 0x0100).question(Message::wire(name), type);
}

TEST(ParseQuery, ReadsWhatAResolverSends) {
  const auto query = parse_query(query_for("Www.Example.COM").bytes());
  ASSERT_TRUE(query);
  EXPECT_EQ(query->id, 0x1234);
  EXPECT_EQ(to_string(query->name.bytes()), Message::wire("Www.Example.COM"));
  EXPECT_EQ(query->host->text(), "www.example.com");
  EXPECT_EQ(query->type, type::kA);
  EXPECT_TRUE(query->recursion_desired);
  EXPECT_FALSE(query->has_edns);
  EXPECT_EQ(query->udp_limit(), 512u);
}

TEST(ParseQuery, ReadsEdnsAndSkipsItsOptions) {
  const std::string cookie = std::string("\x00\x0a\x00\x08", 4) + "8 bytes!";
  const auto query = parse_query(query_for("a.example", 28).opt(4096, cookie, 0, 0x8000).bytes());
  ASSERT_TRUE(query);
  EXPECT_TRUE(query->has_edns);
  EXPECT_TRUE(query->dnssec_ok);
  EXPECT_EQ(query->edns_size, 4096);
  EXPECT_EQ(query->udp_limit(), 1232u);
  EXPECT_EQ(parse_query(query_for("a.example").opt(600).bytes())->udp_limit(), 600u);
  EXPECT_EQ(parse_query(query_for("a.example").opt(0).bytes())->udp_limit(), 512u);
}

TEST(ParseQuery, WhatIsNoHostNameIsReadButNamed) {
  const auto no_host = [](std::string_view wire_name) {
    const auto query = parse_query(Message(1, 0).question(wire_name, 1).bytes());
    return query && !query->host;
  };
  EXPECT_TRUE(no_host(std::string(1, '\0'))) << "the root";
  EXPECT_TRUE(
      no_host(std::string("\x0f"
                          "allowed.example\3com\0",
                          21)))
      << "a dot inside a label";
  EXPECT_TRUE(no_host(std::string("\3a\0b\3com\0", 9))) << "NUL";
  EXPECT_TRUE(
      no_host(std::string("\3"
                          "127\0",
                          5)))
      << "a number";
  EXPECT_TRUE(no_host(std::string("\1 \0", 3)));
}

TEST(ParseQuery, TellsDropFromAnswerable) {
  const std::string name = Message::wire("a.example");
  const std::string compressed = "\1b" + pointer(12);
  struct Row {
    const char* why;
    Message message;
    QueryFault fault;
  };
  const Row rows[] = {
      {"a response", Message(9, 0x8100).question(name, 1), QueryFault::drop},
      {"opcode UPDATE", Message(9, 0x2900).question(name, 1), QueryFault::not_implemented},
      {"opcode NOTIFY", Message(9, 0x2100).question(name, 1), QueryFault::not_implemented},
      {"opcode STATUS", Message(9, 0x1100).question(name, 1), QueryFault::not_implemented},
      {"TC", Message(9, 0x0300).question(name, 1), QueryFault::format_error},
      {"no question", Message(9, 0x0100), QueryFault::format_error},
      {"two questions", Message(9, 0x0100).question(name, 1).question(name, 28), QueryFault::format_error},
      {"an answer", Message(9, 0x0100).question(name, 1).answer(name, 1, 0, "abcd"), QueryFault::format_error},
      {"an authority", Message(9, 0x0100).question(name, 1).count(8), QueryFault::format_error},
      {"additional that is no OPT",
       Message(9, 0x0100).question(name, 1).count(10).raw(name).u16(1).u16(1).u32(0).u16(0), QueryFault::format_error},
      {"two OPT", query_for("a.example").opt(512).opt(512), QueryFault::format_error},
      {"counted OPT is missing", query_for("a.example").count(10), QueryFault::format_error},
      {"bytes behind the question", query_for("a.example").u8(0), QueryFault::format_error},
      {"bytes behind the OPT", query_for("a.example").opt(512).u8(0), QueryFault::format_error},
      {"option longer than OPT", query_for("a.example").opt(512, std::string("\0\1\0\5abc", 7)),
       QueryFault::format_error},
      {"half an option", query_for("a.example").opt(512, std::string("\0\1\0", 3)), QueryFault::format_error},
      {"compressed name", Message(9, 0x0100).question(compressed, 1), QueryFault::format_error},
      {"label of 64", Message(9, 0x0100).question("\x40" + std::string(64, 'a') + std::string(1, '\0'), 1),
       QueryFault::format_error},
      {"class CH", Message(9, 0x0100).question(name, 16, 3), QueryFault::refused_class},
      {"class ANY", Message(9, 0x0100).question(name, 1, 255), QueryFault::refused_class},
      {"EDNS 1", query_for("a.example").opt(512, "", 1), QueryFault::bad_version},
  };
  for (const Row& row : rows) {
    const auto query = parse_query(row.message.bytes());
    ASSERT_FALSE(query) << row.why;
    EXPECT_EQ(query.error().fault, row.fault) << row.why;
    std::array<std::uint8_t, 512> out{};
    const Bytes reply = build_error(query.error(), out);
    EXPECT_EQ(reply.empty(), row.fault == QueryFault::drop) << row.why;
    if (!reply.empty()) {
      EXPECT_EQ(to_string(reply.first(2)), to_string(Bytes(row.message.bytes()).first(2))) << row.why;
      EXPECT_EQ(reply[2] & 0x80, 0x80) << row.why;
    }
  }
}

TEST(ParseQuery, TruncatedAnywhereIsRefused) {
  const auto bytes = query_for("www.example.com").opt(1232, std::string("\0\3\0\1x", 5)).bytes();
  ASSERT_TRUE(parse_query(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto query = parse_query(exact_copy(Bytes(bytes).first(size))->bytes());
    ASSERT_FALSE(query) << size;
    EXPECT_EQ(query.error().fault, size < 12 ? QueryFault::drop : QueryFault::format_error) << size;
  }
}

TEST(BuildError, SaysWhatIsWrong) {
  const auto rcode_for = [](const Message& message) {
    std::array<std::uint8_t, 512> out{};
    const Bytes reply = build_error(parse_query(message.bytes()).error(), out);
    return reply[3] & 0x0f;
  };
  EXPECT_EQ(rcode_for(Message(9, 0x0100)), 1);
  EXPECT_EQ(rcode_for(Message(9, 0x2900)), 4);
  EXPECT_EQ(rcode_for(Message(9, 0x0100).question(Message::wire("a"), 16, 3)), 5);
  std::array<std::uint8_t, 512> out{};
  const auto bad_version = query_for("a.example").opt(512, "", 1).bytes();
  const Bytes reply = build_error(parse_query(bad_version).error(), out);
  Message want = Message(0x1234, 0x8180).question(Message::wire("a.example"), 1).count(10);
  want.u8(0).u16(41).u16(1232).u8(1).u8(0).u16(0).u16(0);
  EXPECT_EQ(to_string(reply), to_string(want.bytes()));
}

Bytes respond(const Message& query, const Answer& answer, Carrier carrier, MutableBytes out) {
  return build_response(*parse_query(query.bytes()), answer, carrier, out);
}

TEST(BuildResponse, WritesAddressesOfTheAskedFamily) {
  std::array<std::uint8_t, 1500> out{};
  const IpAddress addresses[] = {ip("192.0.2.1"), ip("2001:db8::1"), ip("192.0.2.2")};
  Answer answer;
  answer.addresses = addresses;
  answer.ttl = 300;
  const Message want4 = Message(0x1234, 0x8180)
                            .question(Message::wire("Www.Example"), 1)
                            .answer(pointer(12), 1, 300, std::string("\xc0\0\2\1", 4))
                            .answer(pointer(12), 1, 300, std::string("\xc0\0\2\2", 4));
  EXPECT_EQ(to_string(respond(query_for("Www.Example"), answer, Carrier::udp, out)), to_string(want4.bytes()));
  const Message want6 = Message(0x1234, 0x8180)
                            .question(Message::wire("a.b"), 28)
                            .answer(pointer(12), 28, 300, as_text(ip("2001:db8::1").bytes()));
  EXPECT_EQ(to_string(respond(query_for("a.b", 28), answer, Carrier::udp, out)), to_string(want6.bytes()));
}

TEST(BuildResponse, ExtendedErrorOnlyWithEdns) {
  std::array<std::uint8_t, 1500> out{};
  Answer answer;
  answer.rcode = Rcode::name_error;
  answer.extended_error = ExtendedError{kEdeBlocked, "no-rule"};
  const Message plain = Message(0x1234, 0x8183).question(Message::wire("a.b"), 1);
  EXPECT_EQ(to_string(respond(query_for("a.b"), answer, Carrier::udp, out)), to_string(plain.bytes()));
  const Message with_edns = Message(0x1234, 0x8183)
                                .question(Message::wire("a.b"), 1)
                                .opt(1232, std::string("\0\x0f\0\x09\0\x0f", 6) + "no-rule", 0, 0x8000);
  EXPECT_EQ(to_string(respond(query_for("a.b").opt(4096, "", 0, 0x8000), answer, Carrier::udp, out)),
            to_string(with_edns.bytes()));
  const std::string long_text(kMaxErrorText + 1, 'x');
  answer.extended_error->text = long_text;
  const Message without_text =
      Message(0x1234, 0x8183).question(Message::wire("a.b"), 1).opt(1232, std::string("\0\x0f\0\2\0\x0f", 6));
  EXPECT_EQ(to_string(respond(query_for("a.b").opt(4096), answer, Carrier::udp, out)), to_string(without_text.bytes()));
}

TEST(BuildResponse, TruncatesOverUdpOnly) {
  std::vector<std::uint8_t> out(kMaxMessage);
  const std::vector<IpAddress> addresses(kMaxAddresses, ip("2001:db8::1"));  // 32 * 28 = 896 bytes
  Answer answer;
  answer.addresses = addresses;
  const Message truncated = Message(0x1234, 0x8380).question(Message::wire("a.b"), 28);
  EXPECT_EQ(to_string(respond(query_for("a.b", 28), answer, Carrier::udp, out)), to_string(truncated.bytes()));
  EXPECT_GT(respond(query_for("a.b", 28).opt(1232), answer, Carrier::udp, out).size(), 896u);
  EXPECT_GT(respond(query_for("a.b", 28), answer, Carrier::tcp, out).size(), 896u);
  const std::vector<Record> records = {{60, std::vector<std::uint8_t>(2000)}};
  answer.records = records;
  EXPECT_EQ(respond(query_for("a.b", 16).opt(65535), answer, Carrier::udp, out)[2] & 2, 2);
  EXPECT_EQ(respond(query_for("a.b", 16), answer, Carrier::tcp, out).size(), 12u + 5 + 4 + 12 + 2000);
}

TEST(BuildResponse, TheSmallestUdpBufferSuffices) {
  const std::string longest =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
  std::array<std::uint8_t, kMinUdpSize> out{};
  const std::string text(kMaxErrorText, 'x');
  Answer answer;
  answer.extended_error = ExtendedError{kEdeBlocked, text};
  const Bytes reply = respond(query_for(longest).opt(512), answer, Carrier::udp, out);
  ASSERT_FALSE(reply.empty());
  for (std::size_t room = 0; room < 12; ++room) {
    EXPECT_TRUE(respond(query_for(longest), answer, Carrier::udp, MutableBytes(out).first(room)).empty());
    EXPECT_TRUE(respond(query_for(longest), answer, Carrier::tcp, MutableBytes(out).first(room)).empty());
  }
}

TEST(Types, DataAndMeta) {
  for (const Type type : {type::kA, type::kTxt, type::kHttps, Type{127}, Type{256}, Type{257}, Type{65280}}) {
    EXPECT_TRUE(is_data_type(type)) << type;
  }
  for (const Type type : {Type{0}, type::kOpt, Type{128}, Type{249}, Type{250}, Type{251}, Type{252}, Type{255}}) {
    EXPECT_FALSE(is_data_type(type)) << type;
  }
  EXPECT_EQ(type_text(type::kMx), "MX");
  EXPECT_EQ(type_text(4711), "TYPE4711");
}

}  // namespace
}  // namespace weir::wire::dns
