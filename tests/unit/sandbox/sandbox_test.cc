// Start, end, and what the command gets.
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

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
  EXPECT_EQ(run_here(shell("kill -TERM $$")).exit_code, 143);
}

TEST_P(SandboxTest, PipesStayPipes) {
  const Outcome outcome =
      run_here(shell("cat; echo to-stderr >&2; test -p /dev/stdin && test -p /dev/stdout"), "typed\n");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.failure;
  EXPECT_EQ(outcome.out, "typed\n");
  EXPECT_EQ(outcome.err, "to-stderr\n");
}

TEST_P(SandboxTest, WhatCannotBeExecuted) {
  Spec missing = shell("");
  missing.argv = {"no-such-program"};
  Outcome outcome = run_here(missing);
  EXPECT_EQ(outcome.exit_code, 127);
  EXPECT_EQ(outcome.failure, "cannot execute no-such-program: No such file or directory");

  missing.argv = {"/usr/bin/no-such-program"};
  EXPECT_EQ(run_here(missing).exit_code, 127);

  Spec not_executable = shell("");
  not_executable.argv = {"/etc/passwd"};
  EXPECT_EQ(run_here(not_executable).exit_code, 126);

  Spec folder = shell("");
  folder.argv = {"/usr"};
  outcome = run_here(folder);
  EXPECT_EQ(outcome.exit_code, 126);
  EXPECT_EQ(outcome.failure, "cannot execute /usr: Is a directory");

  Spec nameless = shell("");
  nameless.argv = {""};
  outcome = run_here(nameless);
  EXPECT_EQ(outcome.exit_code, 127);
  EXPECT_EQ(outcome.failure, "cannot execute '': No such file or directory");
}

TEST_P(SandboxTest, NoFormatIsNoProgram) {
  const TestFolder files(GetParam());
  const std::string program = files.write("empty-program", "\x01\x02 no program");
  ASSERT_EQ(::chmod(program.c_str(), 0755), 0);
  Spec spec = shell("");
  spec.argv = {"/shared/empty-program"};
  spec.shares = {
      {.source = files.path(), .target = "/shared", .access = Share::Access::read_only, .read_only_below = {}}};
  EXPECT_EQ(run_here(spec).exit_code, 126);
}

TEST_P(SandboxTest, EnvironmentIsExactlyWhatWasGiven) {
  Spec spec = shell("");
  spec.argv = {"/usr/bin/env"};
  spec.env = {{"ONE", "1"}, {"PATH", "/usr/bin:/bin"}};
  EXPECT_EQ(run_here(spec).out, "ONE=1\nPATH=/usr/bin:/bin:/run/weir/bin\n");
}

TEST_P(SandboxTest, InheritsNoDescriptorButThree) {
  const Outcome outcome = run_here(shell("ls -1 /proc/self/fd"));
  // The fourth is the listing's own.
  EXPECT_EQ(outcome.out, "0\n1\n2\n3\n") << outcome.failure;
}

TEST_P(SandboxTest, SignalsStartAtTheirDefaults) {
  const Outcome outcome = run_here(shell("cat /proc/self/status | grep -E '^Sig(Blk|Ign|Cgt)'"));
  EXPECT_EQ(outcome.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
}

TEST_P(SandboxTest, LeadsASessionInItsOwnProcessNamespace) {
  const Outcome outcome = run_here(shell("cut -d' ' -f1,5,6 /proc/$$/stat; hostname; pwd; id -un; umask"));
  // 1 is init, 2 was the process that filled the root.
  EXPECT_EQ(outcome.out, "3 3 3\nweir\n/home/sandbox\nsandbox\n0022\n") << outcome.failure << outcome.err;
}

TEST_P(SandboxTest, StartsInTheWorkdir) {
  Spec spec = shell("pwd");
  spec.workdir = "/tmp";
  EXPECT_EQ(run_here(spec).out, "/tmp\n");
  spec.workdir = "/no/such/folder";
  const Outcome outcome = run_here(spec);
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.failure, HasSubstr("/no/such/folder"));
}

TEST_P(SandboxTest, ReapsOrphans) {
  const Outcome outcome =
      run_here(shell("for i in 1 2 3; do (true &) ; done; i=0; while [ $i -lt 100 ]; do i=$((i+1)); cat "
                     "/proc/[0-9]*/stat; done 2>/dev/null |"
                     " grep -c ' Z 1 ' ; cat /proc/[0-9]*/stat 2>/dev/null | awk '$3 == \"Z\"' | wc -l"));
  EXPECT_THAT(outcome.out, ::testing::EndsWith("\n0\n"));
}

// The command ends, and what it left running holds nothing open: the pipe of the daemon would keep run() waiting.
TEST_P(SandboxTest, ExitOfTheCommandEndsEverything) {
  const Outcome outcome = run_here(shell("(trap '' TERM HUP; setsid sleep 600) & exit 3"));
  EXPECT_EQ(outcome.exit_code, 3);
}

TEST_P(SandboxTest, ArgumentsOfTheSupervisorAreNotVisible) {
  Spec spec = shell("cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; ls /proc | grep -x 1");
  const Outcome outcome = run_here(spec);
  EXPECT_THAT(outcome.out, Not(HasSubstr("sandbox_test")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("gtest")));
  // Positive twin: the listing does show the sandbox's own processes.
  EXPECT_THAT(outcome.out, HasSubstr("cat /proc/"));
}

TEST_P(SandboxTest, AFolderAsStandardDescriptorIsRefused) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t child = fork_as(GetParam(), [&] {
    ::dup2(::open("/", O_RDONLY | O_DIRECTORY), STDIN_FILENO);
    const auto sandbox = Sandbox::start(shell("true"));
    return sandbox ? 1 : sandbox.error().what().find("folder") != std::string::npos ? 0 : 2;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// One end of a pipe is held by a process inside; end of file on the other says that it is gone.
class Death {
 public:
  Death() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    reader_ = sys::OwnedFd(ends[0]);
    writer_ = sys::OwnedFd(ends[1]);
  }
  // In the supervisor: descriptor 1 is what the inside inherits.
  void inherit_as_stdout() const { ::dup2(writer_.get(), STDOUT_FILENO); }
  bool inside_says(char expected) {
    writer_.reset();
    char byte = 0;
    return wait() && ::read(reader_.get(), &byte, 1) == 1 && byte == expected;
  }
  bool inside_is_gone() const {
    char byte = 0;
    return wait() && ::read(reader_.get(), &byte, 1) == 0;
  }

 private:
  bool wait() const {
    pollfd waiting{.fd = reader_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 20'000) == 1;
  }
  sys::OwnedFd reader_;
  sys::OwnedFd writer_;
};

TEST_P(SandboxTest, DiesWithItsSupervisor) {
  Death death;
  const pid_t supervisor = fork_as(GetParam(), [&] {
    death.inherit_as_stdout();
    // The shell, a child that ignores what can be ignored, and a session of its own.
    auto sandbox = Sandbox::start(shell("trap '' TERM HUP INT; (setsid sleep 600 &) ; printf x; sleep 600"));
    if (!sandbox) return 1;
    // No descriptor of the supervisor's but the sandbox's own stdout may stand for "alive".
    ::close(STDOUT_FILENO);
    while (true) ::pause();
  });
  ASSERT_TRUE(death.inside_says('x'));
  ::kill(supervisor, SIGKILL);
  EXPECT_TRUE(death.inside_is_gone());
  ::waitpid(supervisor, nullptr, 0);
}

TEST_P(SandboxTest, KillIsCompleteAndIdempotent) {
  Death death;
  const pid_t supervisor = fork_as(GetParam(), [&] {
    death.inherit_as_stdout();
    auto sandbox = Sandbox::start(shell("trap '' TERM; printf x; sleep 600"));
    ::close(STDOUT_FILENO);
    if (!sandbox || sandbox->init_pidfd() < 0) return 1;
    sandbox->kill();
    sandbox->kill();
    return sandbox->init_pidfd() == -1 ? 0 : 2;
  });
  int status = 0;
  ::waitpid(supervisor, &status, 0);
  EXPECT_EQ(status, 0);
  Death* const held = &death;
  held->inside_says('x');  // closes our writing end; the byte may never have been written
  EXPECT_TRUE(death.inside_is_gone());
}

// Whoever is interrupted while a sandbox starts has to know whether the command has begun.
TEST_P(SandboxTest, AnInterruptIsSeenBeforeTheCommandAndNotInstead) {
  const pid_t supervisor = fork_as(GetParam(), [] {
    const sys::OwnedFd interrupt(::eventfd(1, EFD_CLOEXEC));  // from the beginning
    const Spec spec = shell("read x");
    auto sandbox = Sandbox::prepare(spec);
    if (!sandbox) return 1;
    const auto early = sandbox->await_start(spec, interrupt.get());
    if (!early || *early) return 2;
    if (!sandbox->execute()) return 3;
    pollfd waiting{.fd = sandbox->control_fd(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 20'000) != 1) return 4;
    const auto begun = sandbox->await_start(spec, interrupt.get());
    return begun && *begun ? 0 : 5;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(supervisor, &status, 0), supervisor);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_P(SandboxTest, SignalsReachTheCommandsGroup) {
  Death death;
  const pid_t supervisor = fork_as(GetParam(), [&] {
    death.inherit_as_stdout();
    auto sandbox = Sandbox::start(shell("trap 'exit 7' USR1; printf x; while :; do sleep 0.02; done"));
    if (!sandbox) return 1;
    // The trap is set when the byte has arrived.
    if (!death.inside_says('x')) return 2;
    sandbox->forward_signal(SIGUSR1);
    while (true) {
      pollfd waiting{.fd = sandbox->control_fd(), .events = POLLIN, .revents = 0};
      ::poll(&waiting, 1, -1);
      const auto event = sandbox->on_control_readable();
      if (!event) return 3;
      if (event->has_value()) return WEXITSTATUS((*event)->status);
    }
  });
  int status = 0;
  ::waitpid(supervisor, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_P(SandboxTest, LeavesNothingOnTheHost) {
  const std::string before = read_file("/proc/self/mountinfo");
  ASSERT_EQ(run_here(shell("mkdir /made-inside && echo x > /tmp/made-inside-too")).exit_code, 0);
  EXPECT_EQ(read_file("/proc/self/mountinfo"), before);
  EXPECT_NE(::access("/made-inside", F_OK), 0);
  EXPECT_NE(::access("/tmp/made-inside-too", F_OK), 0);
}

TEST(SandboxIdentity, RootGetsIdsOfItsOwn) {
  if (!can_be(As::root)) GTEST_SKIP() << "needs root";
  Spec as_root = shell("cat /proc/self/uid_map /proc/self/gid_map; id -u");
  as_root.user = {.uid = 0, .gid = 0, .name = "root", .home = "/root"};
  const Outcome outcome = run(as_root, As::root);
  unsigned inside = 1;
  unsigned outside = 0;
  unsigned count = 0;
  ASSERT_EQ(std::sscanf(outcome.out.c_str(), "%u %u %u", &inside, &outside, &count), 3) << outcome.failure;
  EXPECT_EQ(inside, 0u);
  EXPECT_GE(outside, 0x10000000u);
  EXPECT_EQ(count, 65536u);
  EXPECT_THAT(outcome.out, ::testing::EndsWith("\n0\n"));
}

TEST(SandboxIdentity, TwoSandboxesOfRootShareNoId) {
  if (!can_be(As::root)) GTEST_SKIP() << "needs root";
  auto one = Identity::claim(Spec{});
  auto two = Identity::claim(Spec{});
  ASSERT_TRUE(one && two);
  EXPECT_NE(one->host_uid(), two->host_uid());
  const std::uint32_t taken = one->host_uid();
  one = Result<Identity>(fail("given up"));
  auto three = Identity::claim(Spec{});
  ASSERT_TRUE(three);
  EXPECT_EQ(three->host_uid(), taken);
}

TEST(SandboxIdentity, AnOrdinaryUserIsMappedToOneId) {
  const Outcome outcome = run(shell("cat /proc/self/uid_map; id -u; cat /proc/self/setgroups"), As::ordinary);
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  ASSERT_EQ(std::sscanf(outcome.out.c_str(), "%u %u %u", &inside, &outside, &count), 3) << outcome.failure;
  EXPECT_EQ(inside, 1000u);
  EXPECT_EQ(outside, ::getuid() == 0 ? kOrdinaryUid : ::getuid());
  EXPECT_EQ(count, 1u);
  EXPECT_THAT(outcome.out, ::testing::EndsWith("1000\ndeny\n"));
}

}  // namespace
}  // namespace weir::sandbox::testing
