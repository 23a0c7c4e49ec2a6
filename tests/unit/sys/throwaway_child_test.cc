#include "sys/throwaway_child.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace weir::sys {
namespace {

using testing::HasSubstr;

TEST(ThrowawayChild, BringsBackAValue) {
  EXPECT_EQ(in_throwaway_child([]() -> Result<std::string> { return "found"; }).value(), "found");
  EXPECT_EQ(in_throwaway_child([]() -> Result<std::string> { return ""; }).value(), "");
}

TEST(ThrowawayChild, BringsBackAnErrorWhole) {
  const auto result = in_throwaway_child(
      []() -> Result<std::string> { return std::unexpected(Error("no", 13).with_remedy("do that")); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what(), "no");
  EXPECT_EQ(result.error().code(), 13);
  EXPECT_EQ(result.error().remedy(), "do that");
}

TEST(ThrowawayChild, LeavesTheCallerAsItWas) {
  const pid_t before = ::getpid();
  const auto result = in_throwaway_child([]() -> Result<std::string> {
    if (::chdir("/proc") != 0) return fail("chdir");
    return std::to_string(::getpid());
  });
  EXPECT_NE(result.value(), std::to_string(before));
  char folder[4096];
  ASSERT_NE(::getcwd(folder, sizeof folder), nullptr);
  EXPECT_STRNE(folder, "/proc");
}

TEST(ThrowawayChild, NamesTheSignalThatEndedIt) {
  const auto result = in_throwaway_child([]() -> Result<std::string> {
    ::raise(SIGKILL);
    return "";
  });
  EXPECT_THAT(result.error().what(), HasSubstr("SIGKILL"));
}

TEST(ThrowawayChild, IsNotWaitedForForever) {
  const auto result = in_throwaway_child(
      []() -> Result<std::string> {
        for (;;) ::pause();
      },
      std::chrono::milliseconds(50));
  EXPECT_THAT(result.error().what(), HasSubstr("no answer within 50 ms"));
}

TEST(ThrowawayChild, MayNest) {
  const auto result = in_throwaway_child(
      []() -> Result<std::string> { return in_throwaway_child([]() -> Result<std::string> { return fail("deep"); }); });
  EXPECT_EQ(result.error().what(), "deep");
}

}  // namespace
}  // namespace weir::sys
