#include "dial/resolv_conf.h"

#include <gtest/gtest.h>

namespace weir::dial {
namespace {

TEST(ResolvConf, TakesNameServersInOrderAndNothingElse) {
  const auto servers = parse_resolv_conf(
      "# comment\nsearch corp.test\nnameserver 192.0.2.53\n  nameserver\t2001:db8::53 trailing\n"
      "nameserver fe80::1%eth0\nnameserver bogus\noptions ndots:5\nnameserver 192.0.2.54\nnameserver 192.0.2.55");
  ASSERT_EQ(servers.size(), 3u);
  EXPECT_EQ(servers[0].text(), "192.0.2.53:53");
  EXPECT_EQ(servers[1].text(), "[2001:db8::53]:53");
  EXPECT_EQ(servers[2].text(), "192.0.2.54:53");
}

TEST(ResolvConf, AnEmptyFileHasNoServers) {
  EXPECT_TRUE(parse_resolv_conf("").empty());
  EXPECT_TRUE(parse_resolv_conf("\n\n").empty());
}

}  // namespace
}  // namespace weir::dial
