#include "wire/dns_name.h"

#include <gtest/gtest.h>

#include "dns_test_message.h"
#include "wire_test_bytes.h"

namespace weir::wire::dns {
namespace {

net::DomainName domain(std::string_view text) {
  return *net::DomainName::parse(text);
}

const std::string kHeader(12, '\0');

TEST(DnsName, RoundTripsHostNames) {
  const std::string longest =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
  for (const std::string& text :
       {std::string("example.com"), std::string("localhost"), std::string("_a._tcp.b.example"), longest}) {
    const Name name = Name::of(domain(text));
    EXPECT_EQ(to_string(name.bytes()), Message::wire(text));
    EXPECT_EQ(name.host()->text(), text);
  }
  EXPECT_EQ(Name::of(domain(longest)).bytes().size(), Name::kMaxSize);
}

TEST(DnsName, WhatIsNoHostNameHasNone) {
  using namespace std::string_view_literals;
  EXPECT_FALSE(Name().host());
  for (const std::string_view label : {"evil.example"sv, "a b"sv, "a\0b"sv, "\xff"sv, "*"sv, "127"sv, "."sv, "a\n"sv}) {
    Name name;
    ASSERT_TRUE(name.append_label(as_bytes(label)));
    EXPECT_FALSE(name.host()) << label;
  }
  Name dotted;
  ASSERT_TRUE(dotted.append_label(as_bytes("allowed.example")));
  ASSERT_TRUE(dotted.append_label(as_bytes("com")));
  EXPECT_FALSE(dotted.host());
}

TEST(DnsName, IsBounded) {
  Name name;
  EXPECT_FALSE(name.append_label({}));
  EXPECT_FALSE(name.append_label(as_bytes(std::string(64, 'a'))));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(name.append_label(as_bytes(std::string(63, 'a'))));
  EXPECT_FALSE(name.append_label(as_bytes(std::string(62, 'a'))));
  EXPECT_TRUE(name.append_label(as_bytes(std::string(61, 'a'))));
  EXPECT_EQ(name.bytes().size(), 255u);
  EXPECT_FALSE(name.append_label(as_bytes("a")));
}

TEST(DnsName, ComparesAsked) {
  const Name lower = Name::of(domain("example.com"));
  std::array<std::uint8_t, 32> ones{};
  ones.fill(0xff);
  const Name upper = lower.with_random_case(ones);
  EXPECT_EQ(to_string(upper.bytes()), Message::wire("EXAMPLE.COM"));
  EXPECT_TRUE(lower.same_name(upper));
  EXPECT_FALSE(lower.same_bytes(upper));
  EXPECT_TRUE(upper.with_random_case(std::array<std::uint8_t, 32>{}).same_bytes(lower));
  EXPECT_FALSE(lower.same_name(Name::of(domain("example.org"))));
  EXPECT_FALSE(lower.same_name(Name::of(domain("example.com.au"))));
  // '@' and '`' differ by the same bit as 'A' and 'a' but are no letters.
  Name at_sign, backtick;
  ASSERT_TRUE(at_sign.append_label(as_bytes("@[")) && backtick.append_label(as_bytes("`{")));
  EXPECT_FALSE(at_sign.same_name(backtick));
}

TEST(DnsName, RandomCaseLeavesDigitsAndLengthsAlone) {
  std::array<std::uint8_t, 32> ones{};
  ones.fill(0xff);
  EXPECT_EQ(to_string(Name::of(domain("a-1_.xn--b0a.c2c")).with_random_case(ones).bytes()),
            Message::wire("A-1_.XN--B0A.C2C"));
}

TEST(ReadName, FollowsPointersBackwards) {
  const std::string message = kHeader + Message::wire("example.com") + "\3www" + pointer(12) + "\1a" + pointer(25);
  const auto www = read_name(as_bytes(message), 25, Compression::allowed);
  ASSERT_TRUE(www);
  EXPECT_EQ(www->name.host()->text(), "www.example.com");
  EXPECT_EQ(www->next, 31u);
  const auto twice = read_name(as_bytes(message), 31, Compression::allowed);
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->name.host()->text(), "a.www.example.com");
  EXPECT_EQ(twice->next, message.size());
  EXPECT_FALSE(read_name(as_bytes(message), 25, Compression::forbidden));
}

TEST(ReadName, RefusesWhatCannotEnd) {
  const struct {
    const char* why;
    std::string tail;  // behind the header and "\1a\0" at 12
    std::size_t at;
  } rows[] = {
      {"itself", pointer(15), 15},
      {"forward", pointer(17) + Message::wire("b"), 15},
      {"into its own first label", "\1b" + pointer(15), 15},
      {"between two pointers", pointer(17) + pointer(15), 17},
      {"the header", pointer(0), 15},
      {"the header's last byte", pointer(11), 15},
      {"beyond the message", pointer(0x3fff), 15},
      {"half a pointer", "\xc0", 15},
      {"label type 01", "\x41" + std::string("a") + std::string(1, '\0'), 15},
      {"label type 10", "\x81" + std::string("a") + std::string(1, '\0'), 15},
      {"label cut short", "\5abc", 15},
      {"no end", "\3abc", 15},
      {"nothing there", "", 15},
      {"offset outside", "", 99},
  };
  for (const auto& row : rows) {
    const std::string message = kHeader + std::string("\1a\0", 3) + row.tail;
    const auto exact = exact_copy(as_bytes(message));
    EXPECT_FALSE(read_name(exact->bytes(), row.at, Compression::allowed)) << row.why;
  }
}

TEST(ReadName, PointersCannotMakeItTooLong) {
  // Every name leads to the one before and adds 50 bytes: the sixth is longer than a name may be.
  std::string message = kHeader + std::string(1, '\0');
  std::size_t last = 12;
  for (int i = 1; i <= 6; ++i) {
    const std::size_t at = message.size();
    message += '\x31' + std::string(49, 'x') + pointer(last);
    last = at;
    EXPECT_EQ(read_name(as_bytes(message), at, Compression::allowed).has_value(), i <= 5) << i;
  }
}

TEST(PrivateReverseZone, KnowsItsEdges) {
  for (const char* name :
       {"10.in-addr.arpa", "1.2.3.10.in-addr.arpa", "1.0.0.127.in-addr.arpa", "16.172.in-addr.arpa",
        "1.1.31.172.in-addr.arpa", "9.168.192.in-addr.arpa", "254.169.254.169.in-addr.arpa", "64.100.in-addr.arpa",
        "1.1.127.100.in-addr.arpa", "0.in-addr.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", "d.f.ip6.arpa",
        "1.0.0.0.c.f.ip6.arpa", "8.e.f.ip6.arpa", "1.b.e.f.ip6.arpa", "c.e.f.ip6.arpa", "7.0.0.127.IN-ADDR.arpa"}) {
    EXPECT_TRUE(is_private_reverse_zone(domain(name))) << name;
  }
  for (const char* name : {"in-addr.arpa",
                           "172.in-addr.arpa",
                           "15.172.in-addr.arpa",
                           "32.172.in-addr.arpa",
                           "116.172.in-addr.arpa",
                           "x16.172.in-addr.arpa",
                           "110.in-addr.arpa",
                           "167.192.in-addr.arpa",
                           "63.100.in-addr.arpa",
                           "128.100.in-addr.arpa",
                           "8.8.8.8.in-addr.arpa",
                           "ip6.arpa",
                           "f.ip6.arpa",
                           "e.f.ip6.arpa",
                           "0.f.f.ip6.arpa",
                           "7.e.f.ip6.arpa",
                           "8.b.d.1.1.0.0.2.ip6.arpa",
                           "10.in-addr.arpa.example",
                           "10.example",
                           "x10.in-addr.arpa"}) {
    EXPECT_FALSE(is_private_reverse_zone(domain(name))) << name;
  }
}

}  // namespace
}  // namespace weir::wire::dns
