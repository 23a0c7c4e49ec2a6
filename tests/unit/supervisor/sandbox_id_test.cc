#include "supervisor/sandbox_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::supervisor {
namespace {

TEST(SandboxId, IsShortAndNew) {
  EXPECT_THAT(new_sandbox_id().value(), testing::MatchesRegex("w-[0-9a-f]{8}"));
  EXPECT_NE(new_sandbox_id().value(), new_sandbox_id().value());
}

}  // namespace
}  // namespace weir::supervisor
