#include "cli/run_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::cli {
namespace {

using testing::HasSubstr;

TEST(ParseCpus, TakesUpToThreeDigits) {
  EXPECT_EQ(parse_cpus("1"), 1000u);
  EXPECT_EQ(parse_cpus("1.5"), 1500u);
  EXPECT_EQ(parse_cpus("0.01"), 10u);
  EXPECT_EQ(parse_cpus("2.125"), 2125u);
  EXPECT_EQ(parse_cpus("4096"), 4096000u);
  EXPECT_FALSE(parse_cpus("4096.001"));
  EXPECT_FALSE(parse_cpus("0.009"));
  for (const char* wrong : {"", ".", "1.", ".5", "-1", "1.2345", "1,5", "1e3", " 1", "0x1", "99999999", "1.-1"}) {
    const auto parsed = parse_cpus(wrong);
    ASSERT_FALSE(parsed) << wrong;
    EXPECT_THAT(parsed.error().what(), HasSubstr("option --cpus")) << wrong;
    EXPECT_FALSE(parsed.error().remedy().empty());
  }
  EXPECT_THAT(parse_cpus("0").error().remedy(), HasSubstr("leave it out"));
  EXPECT_THAT(parse_cpus("0.000").error().remedy(), HasSubstr("leave it out"));
}

TEST(ParsePids, TakesWholeNumbers) {
  EXPECT_EQ(parse_pids("256"), 256u);
  EXPECT_EQ(parse_pids("4194304"), 4194304u);
  EXPECT_FALSE(parse_pids("4194305"));
  for (const char* wrong : {"", "-1", "1.5", "1k", "99999999999999999999", "all"}) EXPECT_FALSE(parse_pids(wrong));
  EXPECT_THAT(parse_pids("0").error().remedy(), HasSubstr("leave it out"));
}

TEST(ParseTimeout, MayNameTheGraceTime) {
  EXPECT_FALSE(parse_timeout("30s")->grace);
  EXPECT_EQ(parse_timeout("30s,5s")->time.count(), 30'000);
  EXPECT_EQ(parse_timeout("30s,5s")->grace->count(), 5'000);
  EXPECT_EQ(parse_timeout("30s,0s")->grace->count(), 0);
  for (const char* wrong : {"30s,", ",5s", "0,5s", "30s,5s,1s", "30s;5s"}) EXPECT_FALSE(parse_timeout(wrong)) << wrong;
}

}  // namespace
}  // namespace weir::cli
