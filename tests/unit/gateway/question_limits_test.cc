#include "gateway/resolver/question_limits.h"

#include <gtest/gtest.h>

namespace weir::gateway {
namespace {

using policy::Limit;
using policy::Limits;
using policy::NameChoice;

net::DomainName name(int number) {
  return *net::DomainName::parse("n" + std::to_string(number) + ".example");
}

QuestionLimits limits_of(Limit limit, std::uint64_t value) {
  Limits limits;
  limits[limit] = value;
  return QuestionLimits(limits);
}

TEST(QuestionLimits, QuestionsWaitUpToFiveSeconds) {
  QuestionLimits limits = limits_of(Limit::dns_queries_per_second, 10);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(limits.question(0), 0u);
  for (std::uint64_t i = 1; i <= 50; ++i) ASSERT_EQ(limits.question(0), 100 * i);
  EXPECT_EQ(limits.question(0), std::nullopt);
  EXPECT_EQ(limits.name(name(1), NameChoice::guest, 0), 0u) << "names have no limit here";
}

TEST(QuestionLimits, ANameCostsOnceAMinute) {
  QuestionLimits limits = limits_of(Limit::dns_names_per_minute, 60);
  for (int i = 0; i < 60; ++i) ASSERT_EQ(limits.name(name(i), NameChoice::policy, 0), 0u);
  for (int i = 0; i < 60; ++i) ASSERT_EQ(limits.name(name(i), NameChoice::policy, 0), 0u) << "again";
  EXPECT_EQ(limits.name(name(60), NameChoice::policy, 0), 1000u);
  EXPECT_EQ(limits.name(name(60), NameChoice::policy, 400), 600u) << "its turn stands";
  EXPECT_EQ(limits.name(name(60), NameChoice::policy, 2000), 0u);
  for (int i = 61; i < 66; ++i) ASSERT_TRUE(limits.name(name(i), NameChoice::policy, 1000));
  EXPECT_EQ(limits.name(name(66), NameChoice::policy, 1000), std::nullopt);
  EXPECT_EQ(limits.name(name(5), NameChoice::policy, 1000), 0u) << "known names go on";
}

TEST(QuestionLimits, NamesThatTheGuestChoosesAreATenth) {
  QuestionLimits limits = limits_of(Limit::dns_names_per_minute, 600);
  for (int i = 0; i < 60; ++i) ASSERT_EQ(limits.name(name(i), NameChoice::guest, 0), 0u) << i;
  EXPECT_EQ(limits.name(name(60), NameChoice::guest, 0), 1000u);
  for (int i = 61; i < 65; ++i) ASSERT_TRUE(limits.name(name(i), NameChoice::guest, 0));
  EXPECT_EQ(limits.name(name(65), NameChoice::guest, 0), std::nullopt);
  for (int i = 1000; i < 1535; ++i) ASSERT_EQ(limits.name(name(i), NameChoice::policy, 0), 0u) << i;
  EXPECT_NE(limits.name(name(1535), NameChoice::policy, 0), 0u) << "they count in the whole too";
}

TEST(QuestionLimits, TheSmallerOfBothHolds) {
  QuestionLimits limits = limits_of(Limit::dns_queries_per_second, 10);
  Limits less;
  less[Limit::dns_queries_per_second] = 1;
  less[Limit::dns_names_per_minute] = 2;
  limits.narrow(less, 0);
  Limits more;
  more[Limit::dns_queries_per_second] = 1000;
  more[Limit::dns_names_per_minute] = 1000;
  limits.narrow(more, 0);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(limits.question(0), 0u);
  EXPECT_EQ(limits.question(0), 1000u);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(limits.name(name(i), NameChoice::policy, 0), 0u);
  EXPECT_EQ(limits.name(name(2), NameChoice::policy, 0), std::nullopt) << "half a minute would be too long";
}

}  // namespace
}  // namespace weir::gateway
