// Machines that forbid what a sandbox needs, made with namespaces: the error says what to do.
#include "sandbox/remedies.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "sandbox_runner.h"
#include "sys/throwaway_child.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// What start() says in a world that `arrange` made; "started" when it does not mind.
std::string failure_in(As as, const std::function<bool()>& arrange) {
  const auto said = sys::in_throwaway_child([&]() -> Result<std::string> {
    if (!arrange()) return fail("cannot arrange the world");
    const Outcome outcome = run(shell("true"), as);
    return outcome.exit_code == 0 ? "started" : outcome.failure;
  });
  return said ? *said : said.error().what();
}

bool write_text(const char* path, const char* text) {
  const sys::OwnedFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  return ::write(fd.get(), text, 1) == 1;
}

// In a user namespace of its own the test is "root" over its limits, and over nothing else.
TEST(Remedies, UserNamespacesOff) {
  const auto limited = [](const char* limit) {
    return failure_in(As::root, [&] {
      return sys::become_root_of_new_user_namespace() && write_text("/proc/sys/user/max_user_namespaces", limit);
    });
  };
  EXPECT_THAT(limited("0"), AllOf(HasSubstr("namespaces"), HasSubstr("sudo sysctl -w user.max_user_namespaces")));
  EXPECT_EQ(limited("9"), "started");
}

TEST(Remedies, OtherNamespacesExhausted) {
  EXPECT_THAT(failure_in(As::root,
                         [] {
                           return sys::become_root_of_new_user_namespace() &&
                                  write_text("/proc/sys/user/max_net_namespaces", "0");
                         }),
              HasSubstr("a limit on namespaces is reached"));
}

// Containers mount something over parts of /proc; the kernel then gives nobody inside a proc without it.
TEST(Remedies, MaskedProc) {
  if (!can_be(As::root)) GTEST_SKIP() << "needs root";
  const auto masked = [](bool mask) {
    return failure_in(As::ordinary, [mask] {
      return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
             (!mask || ::mount("none", "/proc/irq", "tmpfs", 0, nullptr) == 0);
    });
  };
  EXPECT_THAT(masked(true), AllOf(HasSubstr("proc"), HasSubstr("systempaths=unconfined")));
  EXPECT_EQ(masked(false), "started");
}

// What a container's seccomp profile does to clone3 is what ours does to a guest.
TEST(Remedies, ASandboxInASandbox) {
  const Error refused = with_clone_remedy(Error("cannot start a process in namespaces of its own", ENOSYS));
  EXPECT_THAT(refused.remedy(), HasSubstr("seccomp"));
  EXPECT_EQ(with_set_up_remedy(Error("x", EPERM).with_remedy("kept")).remedy(), "kept");
}

}  // namespace
}  // namespace weir::sandbox::testing
