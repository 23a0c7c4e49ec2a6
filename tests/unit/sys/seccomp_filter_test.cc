#include "sys/seccomp_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

namespace weir::sys {
namespace {

using Action = SeccompFilter::Action;
using Condition = SeccompFilter::Condition;

// Runs the body in a child: a filter cannot be taken off again. 0 for true, 1 for false, 128 + signal.
int in_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(SeccompFilter, RefusesWhatARuleNamesAndNothingElse) {
  EXPECT_EQ(in_child([] {
              SeccompFilter filter(Action::allow(), Action::kill_process());
              filter.add(SYS_getppid, Action::fail_with(EXDEV));
              return filter.install().has_value() && ::syscall(SYS_getppid) == -1 && errno == EXDEV &&
                     ::syscall(SYS_getpid) > 0;
            }),
            0);
}

TEST(SeccompFilter, ConditionsLookAtTheMaskedBitsOfAllSixtyFour) {
  EXPECT_EQ(in_child([] {
              SeccompFilter filter(Action::allow(), Action::kill_process());
              constexpr std::uint64_t kHigh = 0x1'0000'0000;
              filter.add(SYS_lseek, Action::fail_with(EXDEV),
                         {Condition{.argument = 1, .mask = kHigh | 0x10, .value = kHigh | 0x10}});
              if (!filter.install()) return false;
              const auto refused = [](std::uint64_t offset) {
                return ::syscall(SYS_lseek, -1, offset, 0) == -1 && errno == EXDEV;
              };
              return refused(kHigh | 0x10) && refused(kHigh | 0xff) && !refused(0x10) && !refused(kHigh) && !refused(0);
            }),
            0);
}

TEST(SeccompFilter, NegatedConditionsMatchADifferenceInEitherWord) {
  EXPECT_EQ(in_child([] {
              SeccompFilter filter(Action::allow(), Action::kill_process());
              constexpr std::uint64_t kBoth = 0x1'0000'0001;
              filter.add(SYS_lseek, Action::fail_with(EXDEV),
                         {Condition{.argument = 1, .value = kBoth, .test = Condition::Test::not_equal},
                          Condition{.argument = 2, .value = 0}});
              if (!filter.install()) return false;
              const auto refused = [](std::uint64_t offset, int whence) {
                return ::syscall(SYS_lseek, -1, offset, whence) == -1 && errno == EXDEV;
              };
              return refused(0, 0) && refused(0x1'0000'0000, 0) && refused(1, 0) && !refused(kBoth, 0) &&
                     !refused(0, 1);
            }),
            0);
}

TEST(SeccompFilter, DefaultKills) {
  EXPECT_EQ(in_child([] {
              SeccompFilter filter(Action::kill_process(), Action::kill_process());
              filter.add(SYS_exit_group, Action::allow());
              if (!filter.install()) return false;
              ::syscall(SYS_getppid);
              return true;
            }),
            128 + SIGSYS);
}

#ifdef __x86_64__
TEST(SeccompFilter, ForeignAbisNeverReachTheRules) {
  const auto x32_getpid = [] { return ::syscall(0x40000000 + SYS_getpid); };
  const auto i386_getpid = [] {
    long result = 20;  // getpid of i386
    asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result;
  };
  EXPECT_EQ(in_child([&] {
              SeccompFilter filter(Action::allow(), Action::fail_with(EXDEV));
              if (!filter.install()) return false;
              return x32_getpid() == -1 && errno == EXDEV && i386_getpid() == -EXDEV;
            }),
            0);
}
#endif

}  // namespace
}  // namespace weir::sys
