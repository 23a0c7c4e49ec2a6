#include "dial/flow_limits.h"

#include <gtest/gtest.h>

namespace weir::dial {
namespace {

using policy::Limit;
using policy::Limits;

Limits limits_with(Limit limit, std::uint64_t value) {
  Limits limits;
  limits[limit] = value;
  return limits;
}

TEST(FlowLimits, ConnectsComeInABurstThenInTurnThenNotAtAll) {
  FlowLimits limits(limits_with(Limit::connects_per_second, 10), 100);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(limits.turn(0), 0u) << i;
  for (std::uint64_t i = 1; i <= 50; ++i) ASSERT_EQ(limits.turn(0), 100 * i) << i;
  EXPECT_EQ(limits.turn(0), std::nullopt) << "5.1 s would be too long";
  EXPECT_EQ(limits.turn(100), 5000u);
}

TEST(FlowLimits, WithoutALimitNothingWaits) {
  FlowLimits limits(Limits{}, 100);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(limits.turn(0), 0u);
  EXPECT_EQ(limits.max_flows(), 100u) << "what the machine has room for";
  EXPECT_EQ(limits.half_open(), Limits::kUnlimited);
}

TEST(FlowLimits, AQuotaConcernsItsAddressATotalAll) {
  FlowLimits limits(Limits{}, 100);
  const auto a = *net::IpAddress::parse("192.0.2.1");
  const auto b = *net::IpAddress::parse("192.0.2.2");
  limits.note_used_up(Limit::egress_bytes, a);
  limits.note_used_up(Limit::egress_bits_per_second, b);
  limits.note_used_up(Limit::max_flows, b);
  EXPECT_EQ(limits.used_up(a), Limit::egress_bytes);
  EXPECT_EQ(limits.used_up(b), std::nullopt);
  limits.note_used_up(Limit::ingress_bytes, a);
  EXPECT_EQ(limits.used_up(b), Limit::ingress_bytes);
}

TEST(FlowLimits, TheSmallerOfBothHolds) {
  FlowLimits limits(limits_with(Limit::connects_per_second, 10), 100);
  Limits less = limits_with(Limit::connects_per_second, 1);
  less[Limit::max_flows] = 50;
  less[Limit::half_open] = 5;
  limits.narrow(less, 0);
  Limits more = limits_with(Limit::connects_per_second, 1000);
  more[Limit::max_flows] = 80;
  more[Limit::half_open] = 9;
  limits.narrow(more, 0);
  EXPECT_EQ(limits.max_flows(), 50u);
  EXPECT_EQ(limits.half_open(), 5u);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(limits.turn(0), 0u);
  EXPECT_EQ(limits.turn(0), 1000u);
}

}  // namespace
}  // namespace weir::dial
