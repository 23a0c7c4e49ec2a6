#include "base/spelling.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace weir {
namespace {

TEST(Spelling, DistanceCountsSwapsAsOne) {
  EXPECT_EQ(spelling_distance("allow", "allow"), 0u);
  EXPECT_EQ(spelling_distance("alow", "allow"), 1u);
  EXPECT_EQ(spelling_distance("denny", "deny"), 1u);
  EXPECT_EQ(spelling_distance("polciy", "policy"), 1u);
  EXPECT_EQ(spelling_distance("", "abc"), 3u);
}

TEST(Spelling, OffersTheNearestAndNothingFar) {
  constexpr std::array<std::string_view, 4> kWords = {"allow", "deny", "policy", "env"};
  EXPECT_EQ(nearest_spelling("alow", kWords), "allow");
  EXPECT_EQ(nearest_spelling("polcy", kWords), "policy");
  EXPECT_EQ(nearest_spelling("zebra", kWords), "");
  EXPECT_EQ(nearest_spelling("", kWords), "");
}

TEST(Spelling, LongWordsCostNothingAndMatchNothing) {
  constexpr std::array<std::string_view, 1> kWords = {"allow"};
  EXPECT_EQ(nearest_spelling(std::string(1'000'000, 'a'), kWords), "");
}

}  // namespace
}  // namespace weir
