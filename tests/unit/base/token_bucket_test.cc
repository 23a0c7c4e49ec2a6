#include "base/token_bucket.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::uint64_t kForever = UINT64_MAX;

TEST(TokenBucket, GivesTheBurstAtOnceAndThenTheRate) {
  TokenBucket bucket(200, 1000, 400);
  for (int i = 0; i < 400; ++i) ASSERT_EQ(bucket.take(7, 1, 0), 0u) << i;
  EXPECT_EQ(bucket.take(7, 1, 0), std::nullopt);
  EXPECT_EQ(bucket.take(11, 1, 0), std::nullopt) << "a token takes 5 ms";
  EXPECT_EQ(bucket.take(12, 1, 0), 0u);
  EXPECT_EQ(bucket.take(12, 1, 0), std::nullopt);
}

TEST(TokenBucket, WhoWaitsHasATurnOfItsOwn) {
  TokenBucket bucket(10, 1000, 1);
  EXPECT_EQ(bucket.take(0, 1, kForever), 0u);
  EXPECT_EQ(bucket.take(0, 1, kForever), 100u);
  EXPECT_EQ(bucket.take(0, 1, kForever), 200u);
  EXPECT_EQ(bucket.take(150, 1, kForever), 150u) << "behind those who came first";
}

TEST(TokenBucket, PatienceEndsExactlyThere) {
  TokenBucket bucket(10, 1000, 1);
  ASSERT_EQ(bucket.take(0, 1, kForever), 0u);
  EXPECT_EQ(bucket.take(0, 1, 99), std::nullopt);
  EXPECT_EQ(bucket.take(0, 1, 100), 100u) << "what was refused took nothing";
}

TEST(TokenBucket, WhatWasNotUsedComesBack) {
  TokenBucket bucket(10, 1000, 10);
  ASSERT_EQ(bucket.take(0, 10, 0), 0u);
  bucket.give_back(4);
  EXPECT_EQ(bucket.take(0, 4, 0), 0u);
  EXPECT_EQ(bucket.take(0, 1, 0), std::nullopt);
  bucket.give_back(1000);
  EXPECT_EQ(bucket.take(0, 11, 0), std::nullopt) << "never more than the burst";
  EXPECT_EQ(bucket.take(0, 10, 0), 0u);
}

// Asked every millisecond, or once in a while: 5 s give 5 s of the rate and the burst, to the token.
TEST(TokenBucket, IsExactOverTime) {
  for (const std::uint64_t rate : {200u, 999u, 12'500'000u}) {
    for (const std::uint64_t step : {1u, 7u, 100u}) {
      const std::uint64_t burst = rate / 5;
      const std::uint64_t portion = rate > 1000 ? 1000 : 1;
      TokenBucket bucket(rate, 1000, burst);
      std::uint64_t given = 0;
      for (std::uint64_t now = 0; now <= 5000; now += step) {
        while (bucket.take(now, portion, 0)) given += portion;
      }
      EXPECT_LE(given, rate * 5 + burst) << rate << " every " << step;
      EXPECT_GT(given + portion + rate * step / 1000, rate * 5 + burst) << rate << " every " << step;
    }
  }
}

TEST(TokenBucket, LargeNumbersAndOldTimesDoNotWrap) {
  TokenBucket bucket(UINT64_MAX, 1000, UINT64_MAX);
  EXPECT_EQ(bucket.take(UINT64_MAX - 1, UINT64_MAX, kForever), 0u);
  EXPECT_EQ(bucket.take(UINT64_MAX, 1, kForever), 0u);
  TokenBucket slow(1, 60'000, 1);
  EXPECT_EQ(slow.take(100, 1, 0), 0u);
  EXPECT_EQ(slow.take(50, 1, kForever), 60'000u) << "a clock that goes back gives nothing";
}

TEST(TokenBucket, WhatWasPromisedIsNotWaitedForAtTheNewRate) {
  TokenBucket bucket(10, 1000, 20);
  ASSERT_EQ(bucket.take(0, 20, 0), 0u);
  ASSERT_EQ(bucket.take(0, 50, kForever), 5000u);
  bucket.narrow(0, 1, 2);
  EXPECT_EQ(bucket.take(0, 1, kForever), 6000u);
}

TEST(TokenBucket, NarrowsAndNeverWidens) {
  TokenBucket bucket(10, 1000, 20);
  bucket.narrow(0, 1000, 2000);
  ASSERT_EQ(bucket.take(0, 20, 0), 0u);
  EXPECT_EQ(bucket.take(0, 1, kForever), 100u) << "a wish for more changes nothing";
  bucket.give_back(21);
  bucket.narrow(0, 2, 4);
  ASSERT_EQ(bucket.take(0, 4, 0), 0u);
  EXPECT_EQ(bucket.take(0, 1, kForever), 500u);
  std::optional<TokenBucket> none;
  TokenBucket::narrow(none, 0, TokenBucket::kUnlimited, 1000, 1);
  EXPECT_FALSE(none);
  TokenBucket::narrow(none, 0, 5, 1000, 1);
  ASSERT_TRUE(none);
  EXPECT_EQ(none->take(0, 2, kForever), 200u);
}

}  // namespace
}  // namespace weir
