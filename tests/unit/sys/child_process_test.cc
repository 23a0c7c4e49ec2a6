#include "sys/child_process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::sys {
namespace {

Result<ChildProcess> child_that(int (*work)()) {
  auto child = ChildProcess::clone(0);
  if (child && child->in_child()) ::_exit(work());
  return child;
}

int wait_for_ever() {
  while (true) ::pause();
}

TEST(ChildProcess, WaitTellsHowItEnded) {
  auto exits = child_that([] { return 7; });
  ASSERT_TRUE(exits);
  const auto status = exits->wait();
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFEXITED(*status));
  EXPECT_EQ(WEXITSTATUS(*status), 7);
  EXPECT_FALSE(exits->wait());

  auto dies = child_that([] { return ::kill(::getpid(), SIGUSR1) + 1; });
  ASSERT_TRUE(dies);
  const auto death = dies->wait();
  ASSERT_TRUE(death && WIFSIGNALED(*death));
  EXPECT_EQ(WTERMSIG(*death), SIGUSR1);
}

TEST(ChildProcess, KillReaps) {
  auto child = child_that(wait_for_ever);
  ASSERT_TRUE(child);
  const pid_t pid = child->pid();
  ASSERT_EQ(::kill(pid, 0), 0);
  child->kill();
  child->kill();
  EXPECT_EQ(child->pidfd(), -1);
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ChildProcess, DiesWithItsHandle) {
  pid_t pid = 0;
  {
    auto child = child_that(wait_for_ever);
    ASSERT_TRUE(child);
    pid = child->pid();
    ChildProcess moved = std::move(*child);
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ChildProcess, PidfdIsReadableAtTheEnd) {
  auto child = child_that([] { return 0; });
  ASSERT_TRUE(child);
  pollfd ended{.fd = child->pidfd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
}

}  // namespace
}  // namespace weir::sys
