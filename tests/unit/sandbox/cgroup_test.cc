// Cgroups on a tree of plain files: what weir looks for, what it writes, what it takes away.
#include "sandbox/limits/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

constexpr Controllers kAll = {.memory = true, .cpu = true, .pids = true};

class CgroupTest : public ::testing::Test {
 protected:
  // A cgroup in the made-up tree; the root of the tree ("") has no type, as in the kernel.
  void add(const std::string& path, const std::string& controllers, const std::string& enabled,
           const std::string& processes) {
    tree_.make("cg" + path);
    const auto file = [&](const char* name, const std::string& text) { tree_.write("cg" + path + "/" + name, text); };
    file("cgroup.controllers", controllers + "\n");
    file("cgroup.subtree_control", enabled + "\n");
    file("cgroup.procs", processes);
    if (!path.empty()) file("cgroup.type", "domain\n");
  }
  void forbid(const std::string& path) { ::chmod((mount() + path).c_str(), 0444); }
  std::string mount() const { return tree_.path() + "/cg"; }
  bool exists(const std::string& path) const { return ::access((mount() + path).c_str(), F_OK) == 0; }
  std::string self() const { return std::to_string(::getpid()) + "\n"; }
  std::optional<CgroupPlace> find(const std::string& own) { return find_cgroup_place(kAll, mount(), own); }

  TestFolder tree_{As::root};
};

TEST_F(CgroupTest, ReadsListsOfControllers) {
  EXPECT_EQ(parse_controllers("cpuset cpu io memory pids\n"), kAll);
  EXPECT_EQ(parse_controllers("cpuset hugetlb\n"), Controllers{});
  EXPECT_EQ(parse_controllers("memory"), Controllers{.memory = true});
}

TEST_F(CgroupTest, StepsAsideInADelegatedCgroupOfItsOwn) {
  add("", "cpu memory pids", "cpu memory pids", "");
  add("/scope", "cpu memory pids", "", self());
  const auto place = find("/scope");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->folder, mount() + "/scope");
  EXPECT_EQ(place->controllers, kAll);
  EXPECT_EQ(place->way, CgroupPlace::Way::step_aside);
}

TEST_F(CgroupTest, NeverMovesOtherProcesses) {
  add("", "cpu memory pids", "cpu memory pids", "");
  add("/scope", "cpu memory pids", "", "1\n" + self());
  const auto place = find("/scope");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->folder, mount());
  EXPECT_EQ(place->way, CgroupPlace::Way::ready);
}

TEST_F(CgroupTest, TakesTheNearestOfEqualPlaces) {
  add("", "cpu memory pids", "cpu memory pids", "");
  add("/slice", "cpu memory pids", "cpu memory pids", "");
  add("/slice/scope", "cpu memory pids", "", "1\n" + self());
  EXPECT_EQ(find("/slice/scope")->folder, mount() + "/slice");
}

TEST_F(CgroupTest, PrefersMoreControllersToNearness) {
  add("", "cpu memory pids", "cpu memory pids", "");
  add("/slice", "memory pids", "memory pids", "");
  const auto place = find("/slice");
  EXPECT_EQ(place->folder, mount());
  EXPECT_EQ(place->controllers, kAll);
}

TEST_F(CgroupTest, EnablesControllersAtTheRootOfAll) {
  add("", "cpu memory pids", "", "1\n2\n");
  EXPECT_EQ(find("/")->way, CgroupPlace::Way::enable);
}

TEST_F(CgroupTest, FindsNothingWithoutControllers) {
  add("", "", "", "");
  EXPECT_FALSE(find("/"));
  add("", "hugetlb", "hugetlb", "");
  EXPECT_FALSE(find("/"));
}

TEST_F(CgroupTest, FindsNothingOutsideOfItsTree) {
  add("", "cpu memory pids", "cpu memory pids", "");
  EXPECT_FALSE(find("/../other"));
  EXPECT_FALSE(find(""));
}

TEST_F(CgroupTest, WritesWhatWasAsked) {
  add("", "cpu memory pids", "cpu memory pids", "");
  auto cgroup = Cgroup::create(*find("/"), "w-1");
  ASSERT_TRUE(cgroup) << cgroup.error().what();
  for (const char* file : {"memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max"}) {
    tree_.write(std::string("cg/weir-w-1/") + file, "");
  }
  ASSERT_TRUE(cgroup->set({.memory_bytes = 1000, .cpu_millis = 1500, .processes = 16}));
  const std::string folder = mount() + "/weir-w-1/";
  EXPECT_EQ(read_file(folder + "memory.max"), "1000");
  EXPECT_EQ(read_file(folder + "memory.swap.max"), "0");
  EXPECT_EQ(read_file(folder + "memory.oom.group"), "1");
  EXPECT_EQ(read_file(folder + "cpu.max"), "150000 100000");
  EXPECT_EQ(read_file(folder + "pids.max"), "17");  // init is one of them
}

TEST_F(CgroupTest, ALimitThatCannotBeWrittenIsAnError) {
  add("", "cpu memory pids", "cpu memory pids", "");
  auto cgroup = Cgroup::create(*find("/"), "w-1");
  ASSERT_TRUE(cgroup);
  const auto set = cgroup->set({.processes = 16});
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().what(), ::testing::HasSubstr("cannot write 17 to pids.max"));
}

TEST_F(CgroupTest, ReadsWhatTheKernelCounted) {
  add("", "memory pids", "memory pids", "");
  auto cgroup = Cgroup::create(*find("/"), "w-1");
  ASSERT_TRUE(cgroup);
  EXPECT_EQ(cgroup->hits().memory_kills, 0u);
  tree_.write("cg/weir-w-1/memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 1\n");
  tree_.write("cg/weir-w-1/pids.events", "max 3\n");
  EXPECT_EQ(cgroup->hits().memory_kills, 2u);
  EXPECT_EQ(cgroup->hits().processes_refused, 3u);
}

// A cgroup as a killed supervisor leaves it: made by weir itself, whose process then ends without a word.
void leave_behind(const CgroupPlace& place, const std::string& name) {
  const pid_t pid = fork_as(As::root, [&] {
    const auto cgroup = Cgroup::create(place, name);
    if (cgroup) ::_exit(0);
    return 1;
  });
  int status = 0;
  ::waitpid(pid, &status, 0);
  ASSERT_EQ(status, 0);
}

TEST_F(CgroupTest, RemovesItsOwnAndWhatDeadSupervisorsLeft) {
  add("", "memory", "memory", "");
  const auto alive = Cgroup::create(*find("/"), "w-2");
  leave_behind(*find("/"), "w-3");
  tree_.make("cg/somebody-elses");
  ASSERT_TRUE(exists("/weir-w-3"));
  {
    const auto cgroup = Cgroup::create(*find("/"), "w-1");
    ASSERT_TRUE(cgroup);
    EXPECT_TRUE(exists("/weir-w-1"));
    EXPECT_FALSE(exists("/weir-w-3"));
    EXPECT_TRUE(exists("/weir-w-2"));
    EXPECT_TRUE(exists("/somebody-elses"));
  }
  EXPECT_FALSE(exists("/weir-w-1"));
}

// A unit of the service manager called weir-..., or a cgroup of another program.
TEST_F(CgroupTest, LeavesWhatItDidNotMakeWhateverItsName) {
  add("", "memory", "memory", "");
  for (const char* name : {"cg/weir-agent.service", "cg/weir-w-0123abcd", "cg/weir-w-0123abcd.supervisor"}) {
    tree_.make(name);
  }
  ASSERT_TRUE(Cgroup::create(*find("/"), "w-1"));
  EXPECT_TRUE(exists("/weir-agent.service"));
  EXPECT_TRUE(exists("/weir-w-0123abcd"));
  EXPECT_TRUE(exists("/weir-w-0123abcd.supervisor"));
}

TEST_F(CgroupTest, IsOpenToNobodyElse) {
  add("", "memory", "memory", "");
  const auto cgroup = Cgroup::create(*find("/"), "w-1");
  ASSERT_TRUE(cgroup);
  struct stat status{};
  ASSERT_EQ(::stat((mount() + "/weir-w-1").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
}

// Each sweeps while the others make. A name is never used twice: ids are random.
TEST_F(CgroupTest, ManyStartsDoNotDisturbEachOther) {
  constexpr int kStarts = 4;
  constexpr int kRounds = 500;
  add("", "memory", "memory", "");
  const CgroupPlace place = *find("/");
  std::vector<pid_t> starts;
  for (int start = 0; start < kStarts; ++start) {
    starts.push_back(fork_as(As::root, [&] {
      for (int round = 0; round < kRounds; ++round) {
        if (!Cgroup::create(place, std::to_string(::getpid()) + "-" + std::to_string(round))) return 1;
      }
      return 0;
    }));
  }
  for (const pid_t start : starts) {
    int status = 0;
    ::waitpid(start, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(CgroupTest, LeavesFoldersAloneThatItMayNotWrite) {
  if (::getuid() == 0) GTEST_SKIP() << "root may write everything";
  add("", "memory", "memory", "");
  forbid("/cgroup.procs");
  EXPECT_FALSE(find("/"));
}

}  // namespace
}  // namespace weir::sandbox::testing
