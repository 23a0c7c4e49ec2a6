// Every edge of security/ip-classes.md section 6, and every embedding.
#include "policy/compiled/address_class.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

// "@private", "@special hard", "@public"
std::string standing_word(const Standing& standing) {
  std::string text;
  for (std::uint8_t i = 0; i < kAddressClassCount; ++i) {
    const auto each = static_cast<AddressClass>(i);
    if (standing.classes.has(each)) text += (text.empty() ? "" : " ") + std::string(name_of(each));
  }
  return text + (standing.hard ? " hard" : "");
}

struct Row {
  const char* address;
  const char* standing;
};

const Row kEdges[] = {
    {"0.0.0.0", "@special hard"},
    {"0.1.2.3", "@special hard"},
    {"0.255.255.255", "@special hard"},
    {"1.0.0.0", "@public"},
    {"9.255.255.255", "@public"},
    {"10.0.0.0", "@private"},
    {"10.255.255.255", "@private"},
    {"11.0.0.0", "@public"},
    {"100.63.255.255", "@public"},
    {"100.64.0.0", "@private"},
    {"100.100.100.199", "@private"},
    {"100.100.100.200", "@private @metadata hard"},
    {"100.127.255.255", "@private"},
    {"100.128.0.0", "@public"},
    {"126.255.255.255", "@public"},
    {"127.0.0.0", "@loopback"},
    {"127.0.0.1", "@loopback"},
    {"127.255.255.255", "@loopback"},
    {"128.0.0.0", "@public"},
    {"168.63.129.15", "@public"},
    {"168.63.129.16", "@metadata hard"},
    {"168.63.129.17", "@public"},
    {"169.253.255.255", "@public"},
    {"169.254.0.0", "@link-local"},
    {"169.254.169.254", "@link-local @metadata hard"},
    {"169.254.170.2", "@link-local @metadata hard"},
    {"169.254.255.255", "@link-local"},
    {"169.255.0.0", "@public"},
    {"172.15.255.255", "@public"},
    {"172.16.0.0", "@private"},
    {"172.31.255.255", "@private"},
    {"172.32.0.0", "@public"},
    {"191.255.255.255", "@public"},
    {"192.0.0.0", "@special"},
    {"192.0.0.8", "@special"},
    {"192.0.0.9", "@special"},
    {"192.0.0.10", "@special"},
    {"192.0.0.11", "@special"},
    {"192.0.0.170", "@special"},
    {"192.0.0.192", "@metadata @special hard"},
    {"192.0.0.255", "@special"},
    {"192.0.1.0", "@public"},
    {"192.0.1.255", "@public"},
    {"192.0.2.0", "@special"},
    {"192.0.2.255", "@special"},
    {"192.0.3.0", "@public"},
    {"192.31.195.255", "@public"},
    {"192.31.196.0", "@special"},
    {"192.31.197.0", "@public"},
    {"192.52.192.255", "@public"},
    {"192.52.193.0", "@special"},
    {"192.52.194.0", "@public"},
    {"192.88.98.255", "@public"},
    {"192.88.99.2", "@special"},
    {"192.88.100.0", "@public"},
    {"192.167.255.255", "@public"},
    {"192.168.0.0", "@private"},
    {"192.168.255.255", "@private"},
    {"192.169.0.0", "@public"},
    {"192.175.47.255", "@public"},
    {"192.175.48.0", "@special"},
    {"192.175.49.0", "@public"},
    {"198.17.255.255", "@public"},
    {"198.18.0.0", "@special"},
    {"198.19.255.255", "@special"},
    {"198.20.0.0", "@public"},
    {"198.51.99.255", "@public"},
    {"198.51.100.0", "@special"},
    {"198.51.101.0", "@public"},
    {"203.0.112.255", "@public"},
    {"203.0.113.255", "@special"},
    {"203.0.114.0", "@public"},
    {"223.255.255.255", "@public"},
    {"224.0.0.0", "@multicast hard"},
    {"239.255.255.255", "@multicast hard"},
    {"240.0.0.0", "@special hard"},
    {"255.255.255.254", "@special hard"},
    {"255.255.255.255", "@special hard"},
    {"::", "@special hard"},
    {"::1", "@loopback"},
    {"::2", "@special hard"},
    {"::a9fe:a9fe", "@special hard"},
    {"::8.8.8.8", "@special hard"},
    {"::ffff:8.8.8.8", "@public"},
    {"::ffff:169.254.169.254", "@link-local @metadata hard"},
    {"0:0:0:0:0:ffff:a9fe:a9fe", "@link-local @metadata hard"},
    {"::ffff:10.0.0.1", "@private"},
    {"::ffff:0:8.8.8.8", "@special hard"},
    {"::ffff:0:169.254.169.254", "@special hard"},
    {"64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "@special hard"},
    {"64:ff9b::8.8.8.8", "@special hard"},
    {"64:ff9b::169.254.169.254", "@special hard"},
    {"64:ff9b:0:0:0:1::", "@special hard"},
    {"64:ff9b:1::8.8.8.8", "@special hard"},
    {"64:ff9b:1::a9fe:a9fe", "@special hard"},
    {"64:ff9b:2::", "@special hard"},
    {"100::1", "@special"},
    {"100:0:0:1::1", "@special"},
    {"100:0:0:2::1", "@special hard"},
    {"200::1", "@special hard"},
    {"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@special hard"},
    {"2000::", "@public"},
    {"2001::8.8.8.8", "@special hard"},
    {"2001:0:1:2:3:4:5601:5601", "@special hard"},
    {"2001:1::1", "@special"},
    {"2001:1::2", "@special"},
    {"2001:2::1", "@special"},
    {"2001:3::1", "@special"},
    {"2001:4:112::1", "@special"},
    {"2001:10::1", "@special"},
    {"2001:20::1", "@special"},
    {"2001:30::1", "@special"},
    {"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "@special"},
    {"2001:200::", "@public"},
    {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "@public"},
    {"2001:db8::", "@special"},
    {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "@special"},
    {"2001:db9::", "@public"},
    {"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@public"},
    {"2002::", "@special hard"},
    {"2002:808:808::1", "@special hard"},
    {"2002:a9fe:a9fe::1", "@special hard"},
    {"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@special hard"},
    {"2003::", "@public"},
    {"2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "@public"},
    {"2620:4f:8000::1", "@special"},
    {"2620:4f:8001::", "@public"},
    {"3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@public"},
    {"3ffe::", "@special"},
    {"3fff::", "@special"},
    {"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "@special"},
    {"3fff:1000::", "@public"},
    {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@public"},
    {"4000::", "@special hard"},
    {"5f00::1", "@special"},
    {"5f01::1", "@special hard"},
    {"fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@special hard"},
    {"fc00::", "@private"},
    {"fd00:ec2::254", "@private @metadata hard"},
    {"fd20:ce::254", "@private @metadata hard"},
    {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@private"},
    {"fe00::", "@special hard"},
    {"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@special hard"},
    {"fe80::", "@link-local"},
    {"fe80::a9fe:a9fe", "@link-local @metadata hard"},
    {"fe80::5efe:a9fe:a9fe", "@link-local hard"},
    {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@link-local"},
    {"fec0::", "@special"},
    {"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@special"},
    {"ff00::", "@multicast hard"},
    {"ff02::1", "@multicast hard"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "@multicast hard"},
    // ISATAP below any prefix
    {"2606:4700::5efe:808:808", "@special hard"},
    {"2606:4700::200:5efe:808:808", "@special hard"},
    {"2001:db8::200:5efe:a9fe:a9fe", "@special hard"},
    {"2606:4700::100:5efe:808:808", "@public"},
};

TEST(AddressClass, Edges) {
  for (const Row& row : kEdges) EXPECT_EQ(standing_word(static_standing(ip(row.address))), row.standing) << row.address;
}

net::IpAddress step(const net::IpAddress& address, int by) {
  auto bytes = address.bytes();
  for (std::size_t i = bytes.size(); i-- > 0;) {
    bytes[i] = static_cast<std::uint8_t>(bytes[i] + by);
    if (by > 0 ? bytes[i] != 0 : bytes[i] != 0xff) break;
  }
  return net::IpAddress::v6(bytes);
}

// First and last address of every row are never public; what lies beside a row is public or in another row or outside
// the global unicast block, so it is enough that nothing inside leaks.
TEST(AddressClass, NoRowLeaksAtItsEdges) {
  for (const AddressBlock& block : address_blocks()) {
    for (const net::IpAddress& edge : {block.cidr.base(), block.cidr.last()}) {
      EXPECT_FALSE(static_standing(edge).is_public()) << edge.text();
      if (block.hard) EXPECT_TRUE(static_standing(edge).hard) << edge.text();
    }
    for (const net::IpAddress& beside : {step(block.cidr.base(), -1), step(block.cidr.last(), 1)}) {
      const bool in_a_row =
          std::ranges::any_of(address_blocks(), [&](const AddressBlock& other) { return other.cidr.contains(beside); });
      const bool global = beside.is_v4() || (beside.bytes()[0] & 0xe0) == 0x20;
      EXPECT_EQ(static_standing(beside).is_public(), !in_a_row && global) << beside.text();
    }
  }
}

Surroundings around(const HostFacts& facts) {
  return {.facts = facts, .self_addresses = {}, .lifted = {}, .nat64_prefixes = {}};
}

TEST(AddressClass, TheMachineTakesPublicAway) {
  HostFacts facts = lan({"93.184.215.0/24", "2606:2800:21f::/48", "10.0.0.0/24"});
  facts.host = {ip("198.51.100.4"), ip("93.184.215.2"), ip("10.0.0.2"), ip("127.0.0.1")};
  facts.sandboxes = {*net::Cidr::parse("10.254.0.0/16")};
  const Row rows[] = {
      {"93.184.215.14", "@lan"},
      {"93.184.216.14", "@public"},
      {"2606:2800:21f::9", "@lan"},
      {"10.0.0.9", "@private @lan"},
      {"10.0.1.9", "@private"},
      {"10.0.0.2", "@private @lan @host"},
      {"93.184.215.2", "@lan @host"},
      {"127.0.0.1", "@loopback @host"},
      {"10.254.3.1", "@private @sandboxes hard"},
      {"93.184.215.255", "@lan hard"},
      {"10.0.0.255", "@private @lan hard"},
      {"198.51.100.4", "@special @host"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(standing_word(standing_of(ip(row.address), around(facts))), row.standing) << row.address;
  }
}

TEST(AddressClass, PointToPointNetworksHaveNoBroadcast) {
  const HostFacts facts = lan({"10.0.0.0/31", "10.0.1.1/32"});
  EXPECT_FALSE(standing_of(ip("10.0.0.1"), around(facts)).hard);
  EXPECT_FALSE(standing_of(ip("10.0.1.1"), around(facts)).hard);
}

TEST(AddressClass, SelfAddressesAreTheHost) {
  const HostFacts facts;
  const std::vector<net::IpAddress> self = {ip("93.184.215.14")};
  const Surroundings natted{.facts = facts, .self_addresses = self, .lifted = {}, .nat64_prefixes = {}};
  EXPECT_EQ(standing_word(standing_of(self[0], natted)), "@host");
}

TEST(AddressClass, LiftedAddressesAreSoftAndNeverPublic) {
  const HostFacts facts;
  const std::vector<net::IpAddress> lifted = {ip("169.254.169.254"), ip("168.63.129.16"), ip("240.0.0.1")};
  const Surroundings insisted{.facts = facts, .self_addresses = {}, .lifted = lifted, .nat64_prefixes = {}};
  EXPECT_EQ(standing_word(standing_of(lifted[0], insisted)), "@link-local @metadata");
  EXPECT_EQ(standing_word(standing_of(lifted[1], insisted)), "@metadata");
  EXPECT_EQ(standing_word(standing_of(lifted[2], insisted)), "@special");
  EXPECT_TRUE(standing_of(ip("169.254.170.2"), insisted).hard);
}

TEST(AddressClass, Nat64Layouts) {
  // RFC 6052 section 2.4 gives these for 192.0.2.33.
  const struct {
    const char* prefix;
    const char* address;
  } rows[] = {
      {"2001:db8::/32", "2001:db8:c000:221::"},
      {"2001:db8:100::/40", "2001:db8:1c0:2:21::"},
      {"2001:db8:122::/48", "2001:db8:122:c000:2:2100::"},
      {"2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"},
      {"2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"},
      {"2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"},
  };
  for (const auto& row : rows) {
    const auto inner = nat64_inner(*net::Cidr::parse(row.prefix), ip(row.address));
    ASSERT_TRUE(inner) << row.prefix;
    EXPECT_EQ(inner->text(), "192.0.2.33") << row.prefix;
  }
  EXPECT_FALSE(nat64_inner(*net::Cidr::parse("2001:db8::/32"), ip("2001:db8:c000:221:100::")));  // u octet
  EXPECT_FALSE(nat64_inner(*net::Cidr::parse("2001:db8::/33"), ip("2001:db8::")));
  EXPECT_FALSE(nat64_inner(*net::Cidr::parse("64:ff9b::/96"), ip("64:ff9c::1")));
}

TEST(AddressClass, NamesRoundTrip) {
  for (std::uint8_t i = 0; i < kAddressClassCount; ++i) {
    const auto each = static_cast<AddressClass>(i);
    EXPECT_EQ(address_class_of(name_of(each)), each);
  }
  EXPECT_FALSE(address_class_of("@nowhere"));
  EXPECT_FALSE(address_class_of("private"));
}

TEST(AddressClass, SoftRanges) {
  EXPECT_EQ(soft_range_around(*net::Cidr::parse("10.1.0.0/16")), AddressClass::privately);
  EXPECT_EQ(soft_range_around(*net::Cidr::parse("10.0.0.0/8")), AddressClass::privately);
  EXPECT_EQ(soft_range_around(*net::Cidr::parse("127.0.0.0/8")), AddressClass::loopback);
  EXPECT_EQ(soft_range_around(*net::Cidr::parse("fd00::/16")), AddressClass::privately);
  for (const char* wider : {"10.0.0.0/7", "0.0.0.0/0", "::/0", "192.168.0.0/15", "224.0.0.0/4", "93.184.0.0/16"}) {
    EXPECT_FALSE(soft_range_around(*net::Cidr::parse(wider))) << wider;
  }
}

}  // namespace
}  // namespace weir::policy::testing
