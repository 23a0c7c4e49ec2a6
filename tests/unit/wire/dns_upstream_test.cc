// The upstream's side: write_query, parse_response.
#include <gtest/gtest.h>

#include "dns_test_message.h"
#include "wire/dns.h"
#include "wire_test_bytes.h"

namespace weir::wire::dns {
namespace {

using net::IpAddress;

constexpr std::uint16_t kId = 0xbeef;

net::DomainName domain(std::string_view text) {
  return *net::DomainName::parse(text);
}
IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}
std::string v4(std::string_view text) {
  const auto octets = ip(text).v4_octets();
  return std::string(as_text(octets));
}
std::string v6(std::string_view text) {
  return std::string(as_text(ip(text).bytes()));
}
std::string wire(std::string_view name) {
  return Message::wire(name);
}

// Case bits are all zero unless a test says otherwise, so names are in lower case.
UpstreamQuery asking(std::string_view name, Type type) {
  return make_upstream_query(domain(name), type, kId, std::array<std::uint8_t, 32>{});
}
Message reply_to(std::string_view name, Type type, std::uint16_t flags = kResponseFlags) {
  return Message(kId, flags).question(wire(name), type);
}
std::expected<Response, ResponseFault> parse(const Message& message, std::string_view name, Type type) {
  return parse_response(exact_copy(message.bytes())->bytes(), asking(name, type));
}

TEST(WriteQuery, CarriesNothingOfTheGuest) {
  std::array<std::uint8_t, kMinUdpSize> out{};
  std::array<std::uint8_t, 32> random{};
  random.fill(0xaa);
  const auto query = make_upstream_query(domain("example.com"), type::kAaaa, kId, random);
  const Message want = Message(kId, 0x0100).question(to_string(query.name.bytes()), 28).opt(1232);
  EXPECT_EQ(to_string(write_query(query, out)), to_string(want.bytes()));
  EXPECT_EQ(to_string(query.name.bytes()), wire("ExAmPlE.CoM"));
  EXPECT_TRUE(write_query(query, MutableBytes(out).first(want.size() - 1)).empty());
}

TEST(ParseResponse, CollectsAddressesWithTheLeastTtl) {
  const auto response = parse(reply_to("a.example", type::kA)
                                  .answer(pointer(12), 1, 300, v4("192.0.2.1"))
                                  .answer(wire("A.EXAMPLE"), 1, 60, v4("192.0.2.2"))
                                  .answer(pointer(12), 1, 900, v4("192.0.2.1"))
                                  .answer(wire("other.example"), 1, 1, v4("192.0.2.66"))
                                  .answer(pointer(12), 28, 1, v6("2001:db8::1")),
                              "a.example", type::kA);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->addresses, (std::vector{ip("192.0.2.1"), ip("192.0.2.2")}));
  EXPECT_EQ(response->ttl, 60u);
  EXPECT_TRUE(response->chain.empty());
}

TEST(ParseResponse, FollowsTheChainInAnyOrder) {
  const auto response = parse(reply_to("a.example", type::kAaaa)
                                  .answer(wire("c.example"), 28, 300, v6("2001:db8::1"))
                                  .answer(wire("b.example"), 5, 20, wire("C.example"))
                                  .answer(wire("a.example"), 5, 500, wire("b.example"))
                                  .answer(wire("a.example"), 28, 1, v6("2001:db8::bad")),
                              "a.example", type::kAaaa);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->chain, (std::vector{domain("b.example"), domain("c.example")}));
  EXPECT_EQ(response->addresses, std::vector{ip("2001:db8::1")});
  EXPECT_EQ(response->ttl, 20u);
}

TEST(ParseResponse, TellsWhereTheChainEndsWithoutAddress) {
  const auto response = parse(reply_to("a.example", type::kA, 0x8183).answer(pointer(12), 5, 30, wire("gone.example")),
                              "a.example", type::kA);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->rcode, Rcode::name_error);
  EXPECT_EQ(response->chain, std::vector{domain("gone.example")});
  EXPECT_TRUE(response->addresses.empty());
  EXPECT_EQ(response->ttl, 30u);
}

TEST(ParseResponse, TakesCnamesSynthesisedFromDname) {
  const auto response = parse(reply_to("www.old.example", type::kA)
                                  .answer(wire("old.example"), 39, 600, wire("new.example"))
                                  .answer(pointer(12), 5, 0, wire("www.new.example"))
                                  .answer(wire("www.new.example"), 1, 600, v4("192.0.2.1")),
                              "www.old.example", type::kA);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->chain, std::vector{domain("www.new.example")});
  EXPECT_EQ(response->addresses.size(), 1u);
  EXPECT_EQ(response->ttl, 0u);
}

Message chain_of(int length) {
  Message message = reply_to("n0.example", type::kA);
  for (int i = 0; i < length; ++i) {
    message.answer(wire("n" + std::to_string(i) + ".example"), 5, 60, wire("n" + std::to_string(i + 1) + ".example"));
  }
  return message.answer(wire("n" + std::to_string(length) + ".example"), 1, 60, v4("192.0.2.1"));
}

TEST(ParseResponse, BoundsTheChain) {
  EXPECT_EQ(parse(chain_of(8), "n0.example", type::kA)->chain.size(), 8u);
  EXPECT_EQ(parse(chain_of(9), "n0.example", type::kA).error(), ResponseFault::chain);
  EXPECT_EQ(parse(reply_to("a.b", type::kA).answer(pointer(12), 5, 1, pointer(12)), "a.b", type::kA).error(),
            ResponseFault::chain);
  EXPECT_EQ(
      parse(reply_to("a.b", type::kA).answer(pointer(12), 5, 1, wire("c.d")).answer(wire("c.d"), 5, 1, wire("A.B")),
            "a.b", type::kA)
          .error(),
      ResponseFault::chain);
  EXPECT_EQ(parse(reply_to("a.b", type::kA).answer(pointer(12), 5, 1, wire("not a host.b")), "a.b", type::kA).error(),
            ResponseFault::chain);
}

TEST(ParseResponse, TwoCnamesMustAgree) {
  EXPECT_TRUE(
      parse(reply_to("a.b", type::kA).answer(pointer(12), 5, 1, wire("c.d")).answer(pointer(12), 5, 1, wire("C.D")),
            "a.b", type::kA));
  EXPECT_EQ(
      parse(reply_to("a.b", type::kA).answer(pointer(12), 5, 1, wire("c.d")).answer(pointer(12), 5, 1, wire("e.f")),
            "a.b", type::kA)
          .error(),
      ResponseFault::malformed);
}

TEST(ParseResponse, ACnameThatWasAskedForIsARecord) {
  const auto response =
      parse(reply_to("a.b", type::kCname).answer(pointer(12), 5, 9, wire("c.d")), "a.b", type::kCname);
  ASSERT_TRUE(response);
  EXPECT_TRUE(response->chain.empty());
  ASSERT_EQ(response->records.size(), 1u);
  EXPECT_EQ(to_string(response->records[0].rdata), wire("c.d"));
}

TEST(ParseResponse, KeepsAtMost32Addresses) {
  Message message = reply_to("a.b", type::kA);
  for (int i = 0; i < 40; ++i) message.answer(pointer(12), 1, 60, v4("192.0.2." + std::to_string(i)));
  EXPECT_EQ(parse(message, "a.b", type::kA)->addresses.size(), kMaxAddresses);
}

TEST(ParseResponse, AMappedAddressIsShownAsIPv4AndNeverWritten) {
  const auto response =
      parse(reply_to("a.b", type::kAaaa).answer(pointer(12), 28, 60, v6("::ffff:169.254.169.254")), "a.b", type::kAaaa);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->addresses, std::vector{ip("169.254.169.254")});
  std::array<std::uint8_t, 512> out{};
  const auto query = parse_query(Message(1, 0).question(wire("a.b"), 28).bytes());
  Answer answer;
  answer.addresses = response->addresses;
  EXPECT_EQ(build_response(*query, answer, Carrier::udp, out).size(), 12u + 5 + 4);
}

TEST(ParseResponse, RefusesForgeries) {
  const auto fault = [](const Message& message) { return parse(message, "a.example", type::kA).error(); };
  EXPECT_EQ(fault(Message(kId + 1, kResponseFlags).question(wire("a.example"), 1)), ResponseFault::not_ours);
  EXPECT_EQ(fault(Message(kId, 0x0100).question(wire("a.example"), 1)), ResponseFault::not_ours);
  EXPECT_EQ(fault(Message(kId, 0xa980).question(wire("a.example"), 1)), ResponseFault::not_ours);
  EXPECT_EQ(fault(reply_to("b.example", type::kA)), ResponseFault::not_ours);
  EXPECT_EQ(fault(reply_to("a.example", type::kAaaa)), ResponseFault::not_ours);
  EXPECT_EQ(fault(Message(kId, kResponseFlags).question(wire("a.example"), 1, 3)), ResponseFault::not_ours);
  EXPECT_EQ(fault(Message(kId, kResponseFlags).question(wire("A.example"), 1)), ResponseFault::case_mismatch);
  EXPECT_EQ(fault(Message(kId, kResponseFlags)), ResponseFault::malformed);
  EXPECT_EQ(fault(reply_to("a.example", type::kA).question(wire("a.example"), 1)), ResponseFault::malformed);
}

TEST(ParseResponse, RefusesBrokenRecords) {
  const auto fault = [](const Message& message, Type type = type::kA) {
    const auto response = parse(message, "a.b", type);
    return response ? std::optional<ResponseFault>() : response.error();
  };
  const std::optional malformed = ResponseFault::malformed;
  EXPECT_EQ(fault(reply_to("a.b", type::kA).answer(pointer(12), 1, 1, "abc")), malformed);
  EXPECT_EQ(fault(reply_to("a.b", type::kA).answer(pointer(12), 1, 1, "abcde")), malformed);
  EXPECT_EQ(fault(reply_to("a.b", type::kAaaa).answer(pointer(12), 28, 1, "abcd"), type::kAaaa), malformed);
  EXPECT_EQ(fault(reply_to("a.b", type::kA).answer(pointer(12), 1, 1, "abcd", 3)), malformed) << "class CH";
  EXPECT_EQ(fault(reply_to("a.b", type::kA).answer(pointer(40), 1, 1, "abcd")), malformed) << "forward owner";
  EXPECT_EQ(fault(reply_to("a.b", type::kA).answer(pointer(12), 5, 1, wire("c.d") + "x")), malformed);
  EXPECT_EQ(fault(reply_to("a.b", type::kA).count(6)), malformed) << "counted but missing";
  Message many = reply_to("a.b", type::kA);
  for (std::size_t i = 0; i <= kMaxRecords; ++i) many.answer(pointer(12), 1, 1, "abcd");
  EXPECT_EQ(fault(many), malformed);
}

TEST(ParseResponse, TruncatedAnywhereIsRefused) {
  const auto message = reply_to("a.example", type::kA)
                           .answer(pointer(12), 5, 60, wire("b.example"))
                           .answer(wire("b.example"), 1, 60, v4("192.0.2.1"));
  ASSERT_TRUE(parse(message, "a.example", type::kA));
  for (std::size_t size = 0; size < message.size(); ++size) {
    const auto cut = exact_copy(Bytes(message.bytes()).first(size));
    EXPECT_FALSE(parse_response(cut->bytes(), asking("a.example", type::kA))) << size;
  }
}

TEST(ParseResponse, TcEndsTheReading) {
  const auto response = parse(reply_to("a.b", type::kA, 0x8380).count(6).raw("rubbish"), "a.b", type::kA);
  ASSERT_TRUE(response);
  EXPECT_TRUE(response->truncated);
}

TEST(ParseResponse, ReadsRcodesAndTtls) {
  EXPECT_EQ(parse(reply_to("a.b", 1, 0x8182), "a.b", 1)->rcode, Rcode::server_failure);
  EXPECT_EQ(parse(reply_to("a.b", 1, 0x8185), "a.b", 1)->rcode, Rcode::refused);
  EXPECT_EQ(parse(reply_to("a.b", 1, 0x818a), "a.b", 1)->rcode, Rcode::server_failure);
  EXPECT_EQ(parse(reply_to("a.b", 1).answer(pointer(12), 1, 0x80000001, "abcd"), "a.b", 1)->ttl, 0u);
  EXPECT_EQ(parse(reply_to("a.b", 1).answer(pointer(12), 1, 0x7fffffff, "abcd"), "a.b", 1)->ttl, kMaxTtl);
}

// What the rdata of `type` becomes; nullopt: refused. The question is "a.b" at offset 12.
std::optional<std::string> rewritten(Type type, std::string_view rdata) {
  const auto response = parse(reply_to("a.b", type).answer(pointer(12), type, 60, rdata), "a.b", type);
  if (!response || response->records.size() != 1) return std::nullopt;
  return to_string(response->records[0].rdata);
}

TEST(Rdata, NamesAreDecompressed) {
  const std::string compressed = "\4mail" + pointer(12);
  const std::string plain = wire("mail.a.b");
  const std::string pref = std::string("\0\x0a", 2);
  const std::string zeros(20, '\0');
  EXPECT_EQ(rewritten(type::kMx, pref + compressed), pref + plain);
  EXPECT_EQ(rewritten(type::kNs, compressed), plain);
  EXPECT_EQ(rewritten(type::kPtr, compressed), plain);
  EXPECT_EQ(rewritten(type::kSrv, "prwgpo" + compressed), "prwgpo" + plain);
  EXPECT_EQ(rewritten(type::kSoa, compressed + pointer(12) + zeros), plain + wire("a.b") + zeros);
  const std::string naptr = "oopp\1S\3SIP" + std::string(1, '\0');
  EXPECT_EQ(rewritten(35, naptr + compressed), naptr + plain);
}

TEST(Rdata, BrokenLayoutsAreRefused) {
  const std::string name = wire("c.d");
  EXPECT_FALSE(rewritten(type::kMx, "\1"));
  EXPECT_FALSE(rewritten(type::kMx, "ab"));
  EXPECT_FALSE(rewritten(type::kMx, "ab" + name + "x"));
  EXPECT_FALSE(rewritten(type::kSoa, name + name + "short"));
  EXPECT_FALSE(rewritten(type::kNs, "\3ab")) << "the name reaches beyond the record";
  EXPECT_FALSE(rewritten(35, "oopp\5ab"));
  EXPECT_FALSE(rewritten(type::kTxt, ""));
  EXPECT_FALSE(rewritten(type::kTxt, "\5abc"));
  EXPECT_FALSE(rewritten(24, name)) << "SIG";
  EXPECT_EQ(rewritten(type::kTxt, "\3abc\1d"), "\3abc\1d");
  EXPECT_EQ(rewritten(4711, std::string("\0\xff", 2)), std::string("\0\xff", 2));
}

std::string parameter(unsigned key, std::string_view value) {
  return std::string{'\0', static_cast<char>(key), '\0', static_cast<char>(value.size())} + std::string(value);
}

TEST(Rdata, ServiceRecordsLoseWhatHidesOrRedirects) {
  using namespace std::string_literals;
  const std::string head = "\0\1"s + wire("svc.example");
  const std::string alpn = parameter(1, "\2h2");
  const std::string port = parameter(3, "\x01\xbb");
  EXPECT_EQ(rewritten(type::kHttps, head + alpn + port + parameter(4, "abcd") + parameter(5, "secret") +
                                        parameter(6, std::string(16, 'x')) + parameter(7, "/dns")),
            head + alpn + port + parameter(7, "/dns"));
  EXPECT_EQ(rewritten(type::kSvcb, head + parameter(0, "\0\1\0\5"s) + alpn + parameter(5, "e")),
            head + parameter(0, "\0\1"s) + alpn);
  EXPECT_EQ(rewritten(type::kHttps, head + parameter(0, "\0\5"s) + parameter(5, "e")), head);
  EXPECT_EQ(rewritten(type::kHttps, "\0\0"s + pointer(12)), "\0\0"s + wire("a.b"));
  EXPECT_FALSE(rewritten(type::kHttps, head + port + alpn)) << "keys out of order";
  EXPECT_FALSE(rewritten(type::kHttps, head + alpn + alpn)) << "a key twice";
  EXPECT_FALSE(rewritten(type::kHttps, head + alpn.substr(0, alpn.size() - 1)));
  EXPECT_FALSE(rewritten(type::kHttps, head + parameter(0, "\0"s))) << "half a key in mandatory";
  EXPECT_FALSE(rewritten(type::kHttps, "\0\1"s));
}

TEST(Rdata, TheWholeAnswerStaysBelowOneMessage) {
  const std::string name = std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + ".d";
  Message message = reply_to(name, type::kMx);
  for (int i = 0; i < 1000; ++i) message.answer(pointer(12), type::kMx, 1, std::string("\0\1", 2) + pointer(12));
  EXPECT_EQ(parse(message, name, type::kMx).error(), ResponseFault::malformed);
}

}  // namespace
}  // namespace weir::wire::dns
