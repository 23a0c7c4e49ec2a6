// Limits: what is possible, what holds them, and that they hold, where no cgroup does.
#include "sandbox/limits/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "sandbox/limits/guest_limits.h"
#include "sandbox/limits/memory_watch.h"
#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr Machine kMachine = {.memory_bytes = 4ull << 30, .swap_bytes = 1ull << 30, .processors = 2, .pids = 32768};

TEST(CheckLimits, WhatTheMachineHas) {
  struct Case {
    Limits limits;
    const char* wrong;
  };
  const Case cases[] = {
      {{.memory_bytes = 4ull << 30}, nullptr},
      {{.memory_bytes = kMinMemory}, nullptr},
      {{.memory_bytes = kMinMemory - 1}, "--memory: 8388607 is too little"},
      {{.memory_bytes = 5ull << 30}, "--memory: 5G is more than this machine has"},
      {{.cpu_millis = 2000}, nullptr},
      {{.cpu_millis = 10}, nullptr},
      {{.cpu_millis = 9}, "--cpus: 0.009 is too little"},
      {{.cpu_millis = 2001}, "--cpus: 2.001 is more than this machine has"},
      {{.processes = 1}, nullptr},
      {{.processes = 32768}, "--pids: 32768 is more than this machine has"},
      {{.disk_bytes = 5ull << 30}, nullptr},
      {{.disk_bytes = 6ull << 30}, "--disk: 6G is more than this machine has"},
      {{.disk_bytes = 1000}, "--disk: 1000 is too little"},
  };
  for (const Case& tried : cases) {
    const auto checked = check_limits(tried.limits, kMachine);
    EXPECT_EQ(checked.has_value(), tried.wrong == nullptr) << (checked ? tried.wrong : checked.error().what());
    if (!checked && tried.wrong != nullptr) {
      EXPECT_THAT(checked.error().what(), HasSubstr(tried.wrong));
      EXPECT_FALSE(checked.error().remedy().empty());
    }
  }
}

TEST(PlanLimits, CgroupsAreTakenWhereTheyAre) {
  const Limits all = {.memory_bytes = kMinMemory, .cpu_millis = 1500, .processes = 5, .disk_bytes = kMinDisk};
  const CgroupPlace place{.folder = "/x", .controllers = {.memory = true, .cpu = true, .pids = true}};
  const auto plan = plan_limits(all, Identity::Kind::range, User{.uid = 0, .gid = 0}, place);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->memory, Means::cgroup);
  EXPECT_EQ(plan->cpus, Means::cgroup);
  EXPECT_EQ(plan->pids, Means::cgroup);
  EXPECT_FALSE(plan->watches(all));
}

TEST(PlanLimits, EachLimitForItselfWithoutACgroup) {
  const CgroupPlace only_memory{.folder = "/x", .controllers = {.memory = true}};
  const Limits limits = {.memory_bytes = kMinMemory, .cpu_millis = 1000, .processes = 5};
  const auto plan = plan_limits(limits, Identity::Kind::own_id, User{}, only_memory);
  ASSERT_TRUE(plan) << plan.error().what();
  EXPECT_EQ(plan->memory, Means::cgroup);
  EXPECT_EQ(plan->cpus, Means::affinity);
  EXPECT_EQ(plan->pids, Means::rlimit);
}

TEST(PlanLimits, WhatCannotBeHeldIsRefused) {
  const auto fraction = plan_limits({.cpu_millis = 1500}, Identity::Kind::range, User{}, std::nullopt);
  ASSERT_FALSE(fraction);
  EXPECT_THAT(fraction.error().remedy(), HasSubstr("write --cpus 2"));
  const auto many_users = plan_limits({.processes = 5}, Identity::Kind::range, User{.uid = 0, .gid = 0}, std::nullopt);
  ASSERT_FALSE(many_users);
  EXPECT_THAT(many_users.error().what(), HasSubstr("--pids"));
  EXPECT_TRUE(plan_limits({.processes = 5}, Identity::Kind::own_id, User{.uid = 0, .gid = 0}, std::nullopt));
}

TEST(CpusText, IsShort) {
  EXPECT_EQ(cpus_text(1500), "1.5");
  EXPECT_EQ(cpus_text(2000), "2");
  EXPECT_EQ(cpus_text(10), "0.01");
  EXPECT_EQ(cpus_text(1001), "1.001");
}

TEST(MemoryWatch, CountsADescendantsMemoryAndSharedPagesOnce) {
  constexpr std::size_t kSize = 64ull << 20;
  std::vector<char> mine(kSize, 'x');                // shared with the children until they write
  asm volatile("" : : "r"(mine.data()) : "memory");  // nobody reads it: or the compiler leaves it out
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    for (int i = 0; i < 3; ++i) {
      if (::fork() == 0) {
        const std::vector<char> own(kSize / 4, 'y');
        asm volatile("" : : "r"(own.data()) : "memory");
        if (::write(ready[1], own.data(), 1) == 1) ::pause();
        ::_exit(0);
      }
    }
    while (::wait(nullptr) > 0) {
    }
    ::_exit(0);
  }
  char byte = 0;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto cheap = memory_of_tree(parent, ~0ull);
  const auto exact = memory_of_tree(parent, 0);
  ASSERT_TRUE(cheap && exact);
  EXPECT_GE(*cheap, 3 * (kSize + kSize / 4));
  EXPECT_GE(*exact, 3 * kSize / 4);
  EXPECT_LE(*exact, 2 * kSize);
  const auto tree = "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
  std::istringstream children(read_file(tree));
  for (pid_t child = 0; children >> child;) ::kill(child, SIGKILL);
  ::waitpid(parent, nullptr, 0);
}

TEST(MemoryWatch, IsAnErrorWhereThereIsNothing) {
  EXPECT_FALSE(memory_of_tree(0x3fffffff, 0));
}

// A process whose first thread has ended shows no memory, though the others have plenty.
TEST(MemoryWatch, CountsAProcessWhoseFirstThreadHasEnded) {
  constexpr std::size_t kSize = 64ull << 20;
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    if (::fork() == 0) {
      std::thread([&] {
        const std::vector<char> own(kSize, 'y');
        asm volatile("" : : "r"(own.data()) : "memory");
        const std::string first = "/proc/self/task/" + std::to_string(::getpid()) + "/stat";
        while (read_file(first).find(" Z ") == std::string::npos) ::usleep(1000);
        if (::write(ready[1], own.data(), 1) == 1) ::pause();
      }).detach();
      ::syscall(SYS_exit, 0);
    }
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto cheap = memory_of_tree(parent, ~0ull);
  const auto exact = memory_of_tree(parent, 0);
  ASSERT_TRUE(cheap && exact);
  EXPECT_GE(*cheap, kSize);
  EXPECT_GE(*exact, kSize);
  const auto tree = "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
  ::kill(std::stoi(read_file(tree)), SIGKILL);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
}

// On plain files: more processes than a test may start.
class ManyProcesses : public ::testing::Test {
 protected:
  Result<std::uint64_t> memory_with(std::size_t children, const std::string& each) {
    std::string list;
    for (std::size_t i = 0; i < children; ++i) list += each + " ";
    proc_.write("1/task/1/children", list);
    proc_.write("1/status", "RssAnon: 1 kB\n");
    proc_.write("2/task/2/children", "");
    proc_.write("2/status", "RssAnon: 1 kB\n");
    return memory_of_tree(1, kUncountable, proc_.path());
  }
  TestFolder proc_{As::root};
};

TEST_F(ManyProcesses, CountToTheLast) {
  const auto sum = memory_with(99, "2");
  ASSERT_TRUE(sum);
  EXPECT_EQ(*sum, 100u * 1024);
}

TEST_F(ManyProcesses, AreOverEveryLimit) {
  const auto sum = memory_with(65'536, "2");
  ASSERT_TRUE(sum);
  EXPECT_EQ(*sum, kUncountable);
}

TEST_F(ManyProcesses, AreOverEveryLimitWhenTheirListIsTooLong) {
  const auto sum = memory_with(200'000, "000002");
  ASSERT_TRUE(sum);
  EXPECT_EQ(*sum, kUncountable);
}

// In a sandbox without a supervisor's loop: what the kernel itself holds.
class GuestLimitsTest : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam())) GTEST_SKIP() << "needs root";
    if (find_cgroup_place({.memory = true, .cpu = true, .pids = true}))
      GTEST_SKIP() << "a cgroup holds the limits here";
  }
};

INSTANTIATE_TEST_SUITE_P(Users, GuestLimitsTest, ::testing::Values(As::root, As::ordinary),
                         [](const auto& info) { return info.param == As::root ? "Root" : "Ordinary"; });

constexpr const char* kForkMany =
    "import os\nn = 0\ntry:\n  while n < 20:\n    if os.fork() == 0:\n      os.read(0, 1); os._exit(0)\n    n += 1\n"
    "except OSError as error: print(error.errno, n)\nelse: print('all', n)\n";

TEST_P(GuestLimitsTest, ProcessesOfAllKinds) {
  Spec spec = python(kForkMany);
  spec.limits.processes = 6;
  EXPECT_EQ(run(spec, GetParam()).out, "11 5\n");  // EAGAIN: Python is the sixth
  spec.limits.processes = 64;
  EXPECT_EQ(run(spec, GetParam()).out, "all 20\n");
}

TEST_P(GuestLimitsTest, RootInside) {
  Spec spec = python(kForkMany);
  spec.user = {.uid = 0, .gid = 0, .name = "root", .home = "/root"};
  spec.limits.processes = 6;
  const Outcome outcome = run(spec, GetParam());
  if (GetParam() == As::ordinary) {
    EXPECT_EQ(outcome.out, "11 5\n");
  } else {
    EXPECT_THAT(outcome.failure, HasSubstr("--pids"));
  }
}

TEST_P(GuestLimitsTest, ProcessorsCannotBeChanged) {
  Spec spec = python(
      "import os\nprint(len(os.sched_getaffinity(0)))\n"
      "try: os.sched_setaffinity(0, {0, 1})\nexcept OSError as e: print(e.errno)\n");
  EXPECT_THAT(run(spec, GetParam()).out, ::testing::Not(HasSubstr("1\n1\n")));
  spec.limits.cpu_millis = 1000;
  EXPECT_EQ(run(spec, GetParam()).out, "1\n1\n");  // EPERM
}

TEST_P(GuestLimitsTest, MemoryThatNobodyCountsIsAbsent) {
  Spec spec = python(
      "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
      "try: os.memfd_create('x'); print('memfd')\nexcept OSError as e: print(e.errno)\n"
      "print('shm' if libc.shmget(0, 4096, 0o1600) >= 0 else ctypes.get_errno())\n");
  EXPECT_EQ(run(spec, GetParam()).out, "memfd\nshm\n");
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "init with a sanitizer maps more than RLIMIT_DATA leaves it";
#endif
  spec.limits.memory_bytes = 64 << 20;
  const Outcome limited = run(spec, GetParam());
  EXPECT_EQ(limited.out, "38\n38\n") << limited.err << limited.failure;  // ENOSYS
}

TEST_P(GuestLimitsTest, DiskHoldsForEverythingPrivateTogether) {
  const TestFolder folder(GetParam());
  folder.write("file", "x");
  Spec spec = shell(
      "for f in /tmp/a /dev/shm/b $HOME/c /data/d; do head -c 3145728 /dev/zero > $f 2>/dev/null && echo ok; done;"
      "ls /.weir-layers 2>/dev/null; cat /data/file; for i in $(seq 5000); do true 2>/dev/null >/tmp/$i || break; "
      "done; "
      "test $i -lt 1100 && echo few files");
  spec.shares.push_back(
      {.source = folder.path(), .target = "/data", .access = Share::Access::overlay, .read_only_below = {}});
  spec.limits.disk_bytes = 8 << 20;
  EXPECT_EQ(run(spec, GetParam()).out, "ok\nok\nxfew files\n");
  spec.limits.disk_bytes = 64 << 20;
  EXPECT_EQ(run(spec, GetParam()).out, "ok\nok\nok\nok\nx");
}

}  // namespace
}  // namespace weir::sandbox::testing
