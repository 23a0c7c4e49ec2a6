#include "gateway/meter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace weir::gateway {
namespace {

using policy::Limit;
using policy::Limits;

struct Told {
  std::vector<Limit> limits;
  Meter::Report report() {
    return [this](Limit limit, std::uint64_t) { limits.push_back(limit); };
  }
};

net::IpAddress address(const char* text) {
  return *net::IpAddress::parse(text);
}

TEST(Meter, AQuotaIsMetToTheByte) {
  Told told;
  Limits limits;
  limits[Limit::egress_bytes] = 100;
  limits[Limit::egress_bytes_total] = 150;
  Meter meter(limits, told.report());
  Allowance one(meter, Way::up);
  Allowance two(meter, Way::up);
  Allowance other(meter, Way::up);
  one.begin(meter.account(address("192.0.2.1")));
  two.begin(meter.account(address("192.0.2.1")));
  other.begin(meter.account(address("192.0.2.2")));
  one.used(60);
  EXPECT_EQ(two.room(0).bytes, 40u) << "both talk to one address";
  EXPECT_EQ(other.room(0).bytes, 90u) << "of the total";
  two.used(40);
  EXPECT_EQ(one.room(0).bytes, 0u);
  EXPECT_EQ(one.room(0).used_up, Limit::egress_bytes);
  EXPECT_EQ(other.room(0).bytes, 50u);
  other.used(50);
  EXPECT_EQ(other.room(0).used_up, Limit::egress_bytes_total);
  Allowance down(meter, Way::down);
  down.begin(meter.account(address("192.0.2.1")));
  EXPECT_EQ(down.room(0).bytes, UINT64_MAX);
  EXPECT_TRUE(told.limits.empty());
}

// Five seconds of flows that always want more: 5 s of the rate, a tenth more at most, shared fairly.
TEST(Meter, ARateIsExactOverFiveSecondsHoweverManyFlows) {
  for (const std::uint64_t bits : {8'000u, 64'000u, 1'000'000u, 100'000'000u}) {
    for (const std::size_t flows : {1u, 2u, 30u}) {
      Told told;
      Limits limits;
      limits[Limit::ingress_bits_per_second] = bits;
      Meter meter(limits, told.report());
      std::vector<std::unique_ptr<Allowance>> all;
      std::vector<std::uint64_t> moved(flows);
      for (std::size_t i = 0; i < flows; ++i) {
        all.push_back(std::make_unique<Allowance>(meter, Way::down));
        all.back()->begin(meter.account(address("192.0.2.1")));
      }
      for (std::uint64_t now = 1000; now < 6000; now += 3) {
        for (std::size_t i = 0; i < flows; ++i) {
          for (auto room = all[i]->room(now); room.bytes > 0; room = all[i]->room(now)) {
            const std::uint64_t read = std::min<std::uint64_t>(room.bytes, 65'536);
            all[i]->used(read);
            moved[i] += read;
          }
        }
      }
      std::uint64_t sum = 0;
      for (const std::uint64_t each : moved) sum += each;
      const double wanted = static_cast<double>(bits) / 8 * 5;
      EXPECT_NEAR(static_cast<double>(sum), wanted, wanted / 10) << bits << " bit/s, flows: " << flows;
      EXPECT_GE(std::ranges::min(moved) * 4, sum / flows * 3) << bits << " bit/s, flows: " << flows;
      EXPECT_EQ(told.limits, std::vector{Limit::ingress_bits_per_second}) << "once a minute";
    }
  }
}

TEST(Meter, WhatIsReservedAndNotReadGoesToTheOthers) {
  Told told;
  Limits limits;
  limits[Limit::egress_bits_per_second] = 8'000;  // 1,000 bytes a second: a burst of 100, portions of 20
  Meter meter(limits, told.report());
  Meter::Account& account = meter.account(address("192.0.2.1"));
  {
    Allowance idle(meter, Way::up);
    idle.begin(account);
    EXPECT_EQ(idle.room(0).bytes, 20u);
  }
  std::uint64_t moved = 0;
  Allowance busy(meter, Way::up);
  busy.begin(account);
  for (auto room = busy.room(0); room.bytes > 0; room = busy.room(0)) {
    busy.used(room.bytes);
    moved += room.bytes;
  }
  EXPECT_EQ(moved, 100u);
  EXPECT_EQ(busy.room(0).wait_ms, 20u);
}

TEST(Meter, DatagramsOverARateAreLostOverAQuotaRefused) {
  Told told;
  Limits limits;
  limits[Limit::egress_bits_per_second] = 80'000;  // 10,000 bytes a second
  limits[Limit::egress_bytes] = 3'000;
  Meter meter(limits, told.report());
  Meter::Account& account = meter.account(address("192.0.2.1"));
  EXPECT_EQ(meter.pass(Way::up, account, 1'000, 0), Meter::Passage::free);
  EXPECT_EQ(meter.pass(Way::up, account, 500, 0), Meter::Passage::free) << "50 ms in advance";
  EXPECT_EQ(meter.pass(Way::up, account, 100, 0), Meter::Passage::lost);
  EXPECT_EQ(meter.pass(Way::up, account, 1'500, 1'000), Meter::Passage::free);
  EXPECT_EQ(meter.pass(Way::up, account, 1, 2'000), Meter::Passage::used_up);
  EXPECT_EQ(meter.pass(Way::up, meter.account(address("192.0.2.2")), 1, 2'000), Meter::Passage::free);
}

TEST(Meter, TheSmallerOfBothHoldsAndWhatHasMovedCounts) {
  Told told;
  Limits limits;
  limits[Limit::egress_bytes] = 1000;
  limits[Limit::egress_bits_per_second] = 80'000;
  Meter meter(limits, told.report());
  Allowance one(meter, Way::up);
  Allowance down(meter, Way::down);
  one.begin(meter.account(address("192.0.2.1")));
  down.begin(meter.account(address("192.0.2.1")));
  one.used(300);
  Limits less;
  less[Limit::egress_bytes] = 400;
  less[Limit::ingress_bytes] = 50;
  less[Limit::egress_bits_per_second] = 8'000;
  meter.narrow(less, 0);
  Limits more;
  more[Limit::egress_bytes] = 4000;
  more[Limit::ingress_bytes] = 5000;
  more[Limit::egress_bits_per_second] = 8'000'000;
  meter.narrow(more, 0);
  EXPECT_EQ(meter.left(Way::up, meter.account(address("192.0.2.1"))).bytes, 100u);
  EXPECT_EQ(meter.left(Way::down, meter.account(address("192.0.2.1"))).bytes, 50u);
  EXPECT_EQ(meter.portion(Way::up), 20u) << "a fiftieth of a thousand";
  less[Limit::egress_bytes] = 200;
  meter.narrow(less, 0);
  EXPECT_EQ(meter.left(Way::up, meter.account(address("192.0.2.1"))).bytes, 0u) << "more has moved than may now";
  ASSERT_TRUE(one.room(0).used_up);
  EXPECT_EQ(*one.room(0).used_up, Limit::egress_bytes);
}

}  // namespace
}  // namespace weir::gateway
