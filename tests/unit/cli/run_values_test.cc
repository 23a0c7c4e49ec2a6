#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_limits.h"
#include "cli/run_plan.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using Kind = supervisor::EventsSink::Kind;

TEST(RunValues, Users) {
  EXPECT_EQ(parse_user("root")->uid, 0u);
  EXPECT_EQ(parse_user("root")->home, "/root");
  EXPECT_EQ(parse_user("0")->name, "root");
  EXPECT_EQ(parse_user("sandbox")->uid, 1000u);
  EXPECT_EQ(parse_user("1234")->uid, 1234u);
  EXPECT_EQ(parse_user("1234")->gid, 1234u);
  EXPECT_EQ(parse_user("65533")->uid, 65533u);
  for (const char* bad : {"", "65534", "65535", "-1", "bob", "1 ", "0x10", "99999999999", "1000:1000"}) {
    const auto user = parse_user(bad);
    ASSERT_FALSE(user) << bad;
    EXPECT_THAT(user.error().remedy(), HasSubstr("root, sandbox")) << bad;
  }
}

TEST(RunValues, Events) {
  EXPECT_EQ(parse_events("-", "/w")->kind, Kind::standard_output);
  EXPECT_EQ(parse_events("none", "/w")->kind, Kind::none);
  EXPECT_EQ(parse_events("./none", "/w")->path, "/w/./none");
  EXPECT_EQ(parse_events("e.jsonl", "/w")->path, "/w/e.jsonl");
  EXPECT_EQ(parse_events("/x/e.jsonl", "")->path, "/x/e.jsonl");
  EXPECT_EQ(parse_events("e", "/w")->kind, Kind::file);
  EXPECT_THAT(parse_events("e", "").error().what(), HasSubstr("the current folder is gone"));
  EXPECT_THAT(parse_events("", "/w").error().what(), HasSubstr("option --events: the path is empty"));
  EXPECT_FALSE(parse_events(std::string(5000, 'x'), "/w"));
}

TEST(RunValues, Timeouts) {
  EXPECT_EQ(parse_timeout("1m30s")->time.count(), 90'000);
  EXPECT_EQ(parse_timeout("5")->time.count(), 5'000);
  EXPECT_EQ(parse_timeout("1ms")->time.count(), 1);
  EXPECT_THAT(parse_timeout("0").error().remedy(), HasSubstr("leave it out"));
  EXPECT_THAT(parse_timeout("soon").error().what(), HasSubstr("option --timeout: 'soon' is not a duration"));
}

TEST(RunValues, Names) {
  EXPECT_EQ(parse_name("build-7_a.b").value(), "build-7_a.b");
  EXPECT_TRUE(parse_name(std::string(63, 'a')));
  for (const std::string& bad : {std::string(), std::string(64, 'a'), std::string("-a"), std::string(".."),
                                 std::string("a/b"), std::string("a b"), std::string("ä"), std::string("a\n")}) {
    EXPECT_FALSE(parse_name(bad)) << bad;
  }
}

TEST(RunValues, Workdirs) {
  EXPECT_EQ(parse_workdir("/data").value(), "/data");
  EXPECT_EQ(parse_workdir("/").value(), "/");
  EXPECT_THAT(parse_workdir("data").error().what(), HasSubstr("'data' is not absolute"));
  EXPECT_FALSE(parse_workdir(""));
  EXPECT_FALSE(parse_workdir(std::string_view("/a\0b", 4)));
}

}  // namespace
}  // namespace weir::cli
