#include "net/ip_address.h"

#include <gtest/gtest.h>

namespace weir::net {
namespace {

struct Spelling {
  const char* text;
  const char* canonical;  // nullptr: must be refused
};

class IpAddressSpelling : public testing::TestWithParam<Spelling> {};

TEST_P(IpAddressSpelling, ParsesOrRefuses) {
  const auto [text, canonical] = GetParam();
  const auto address = IpAddress::parse(text);
  if (canonical == nullptr) {
    EXPECT_FALSE(address.has_value()) << text << " became " << address->text();
    return;
  }
  ASSERT_TRUE(address.has_value()) << text;
  EXPECT_EQ(address->text(), canonical);
  EXPECT_EQ(*IpAddress::parse(address->text()), *address);
}

INSTANTIATE_TEST_SUITE_P(
    Table, IpAddressSpelling,
    testing::Values(Spelling{"0.0.0.0", "0.0.0.0"}, Spelling{"192.0.2.7", "192.0.2.7"},
                    Spelling{"255.255.255.255", "255.255.255.255"}, Spelling{"127.1", nullptr},
                    Spelling{"0x7f.0.0.1", nullptr}, Spelling{"2130706433", nullptr}, Spelling{"0177.0.0.1", nullptr},
                    Spelling{"127.0.0.01", nullptr}, Spelling{"127.0.0.1.", nullptr}, Spelling{"127.0.0.1 ", nullptr},
                    Spelling{"256.0.0.1", nullptr}, Spelling{"1.2.3.4.5", nullptr}, Spelling{"", nullptr},
                    Spelling{"::", "::"}, Spelling{"::1", "::1"}, Spelling{"1::", "1::"},
                    Spelling{"2001:DB8::1", "2001:db8::1"}, Spelling{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
                    Spelling{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, Spelling{"::ffff:192.0.2.1", "192.0.2.1"},
                    Spelling{"::ffff:c000:201", "192.0.2.1"}, Spelling{"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
                    Spelling{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"}, Spelling{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
                    Spelling{"1:2:3:4:5:6:7:8::", nullptr}, Spelling{"1::2::3", nullptr}, Spelling{":::", nullptr},
                    Spelling{"1:", nullptr}, Spelling{":1", nullptr}, Spelling{"fe80::1%eth0", nullptr},
                    Spelling{"[::1]", nullptr}, Spelling{"::12345", nullptr},
                    Spelling{"1:2:3:4:5:6:7:1.2.3.4", nullptr}, Spelling{"1.2.3.4::", nullptr}));

TEST(Cidr, ContainsItsEdgesAndNothingElse) {
  const auto block = *Cidr::parse("172.16.0.0/12");
  EXPECT_TRUE(block.contains(*IpAddress::parse("172.16.0.0")));
  EXPECT_TRUE(block.contains(*IpAddress::parse("172.31.255.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("172.15.255.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("172.32.0.0")));
  EXPECT_EQ(block.last().text(), "172.31.255.255");
}

TEST(Cidr, AllOfIpv6DoesNotContainIpv4) {
  EXPECT_FALSE(Cidr::parse("::/0")->contains(*IpAddress::parse("192.0.2.1")));
  EXPECT_TRUE(Cidr::parse("::/0")->contains(*IpAddress::parse("2001:db8::1")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("::ffff:192.0.2.1")));
}

TEST(Cidr, RefusesHostBitsAndBadLengths) {
  for (const char* text : {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "::/129", "10/8", "10.0.0.0/-1"}) {
    EXPECT_FALSE(Cidr::parse(text).has_value()) << text;
  }
  EXPECT_EQ(Cidr::parse("10.0.0.1/8").error().remedy(), "write 10.0.0.0/8");
}

TEST(Port, AcceptsOnlyPlainDecimals) {
  EXPECT_EQ(*parse_port("443"), 443);
  EXPECT_EQ(*parse_port("65535"), 65535);
  for (const char* text : {"", "0", "65536", "0443", "+443", " 443", "443 ", "65979", "-1", "4a", "100000"}) {
    EXPECT_FALSE(parse_port(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace weir::net
