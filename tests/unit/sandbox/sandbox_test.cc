// Start, end, and what the command gets.
#include "sandbox/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::HasSubstr;

class SandboxTest : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam())) GTEST_SKIP() << "needs root";
  }
  Outcome run_here(const Spec& spec, const std::string& input = "") { return run(spec, GetParam(), input); }
};

INSTANTIATE_TEST_SUITE_P(Users, SandboxTest, ::testing::Values(As::root, As::ordinary),
                         [](const auto& info) { return info.param == As::root ? "Root" : "Ordinary"; });

TEST_P(SandboxTest, ExitCodeIsTheCommands) {
  const Outcome good = run_here(shell("exit 0"));
  EXPECT_EQ(good.exit_code, 0) << good.failure;
  EXPECT_EQ(run_here(shell("exit 42")).exit_code, 42);
  EXPECT_EQ(run_here(shell("kill -9 $$")).exit_code, 137);
}

}  // namespace
}  // namespace weir::sandbox::testing
