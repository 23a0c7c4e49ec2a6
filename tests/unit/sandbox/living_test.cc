// Sandboxes that live on: processes inside, and what programs there do against the one that starts them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "living_runner.h"

namespace weir::sandbox {
namespace {

using testing::As;
using testing::live;
using testing::Live;
using testing::living;

class Living : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!testing::can_be(GetParam())) GTEST_SKIP() << "needs root";
  }
};

TEST_P(Living, RunsOneProgramAfterTheOther) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   return live.shell("echo one; pwd").text() + live.shell("exit 7").text() +
                          live.run({"cat", "/proc/self/comm"}, "/tmp").text() + live.shell("kill -9 $$").text();
                 }),
            "one\n/home/sandbox\n|0|7cat\n|0|137");
}

TEST_P(Living, SaysWhatCannotBeExecuted) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   return live.run({"no-such-program"}).text() + "\n" + live.run({"/etc/passwd"}).text() + "\n" +
                          live.run({"/tmp"}).text() + "\n" + live.run({""}).text() + "\n" +
                          live.run({"true"}, "/no/folder").text() + "\n" + live.run({"true"}).text();
                 }),
            "cannot execute no-such-program: No such file or directory|127\n"
            "cannot execute /etc/passwd: Permission denied|126\n"
            "cannot execute /tmp: Is a directory|126\n"
            "cannot execute '': No such file or directory|127\n"
            "cannot start in /no/folder (inside): No such file or directory|126\n"
            "|0");
}

// What a program gets: 0, 1 and 2; no way to open by openat2(); a session and group of its own; no blocked signal.
TEST_P(Living, AProgramGetsWhatItWasGivenAndNothingElse) {
  const std::string program =
      "import os,ctypes\n"
      "libc=ctypes.CDLL(None,use_errno=True)\n"
      "print(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))\n"
      "print(os.getpid()==os.getsid(0)==os.getpgrp())\n"
      "print(libc.syscall(437,-100,b'/etc/passwd',b'\\0'*24,24), ctypes.get_errno())\n"
      "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('SigBlk','NoNewPrivs','Seccomp:'))])\n"
      "print(sorted(k for k in os.environ if k!='LC_CTYPE'))\n";
  EXPECT_EQ(live(GetParam(), [&](Live& live) { return live.run({"python3", "-c", program}).text(); }),
            "['0', '1', '2'] 4\nTrue\n-1 38\n['0000000000000000', '1', '2']\n['HOME', 'PATH']\n|0");
}

// Each has the descriptor that the sandbox can be sealed with; its supervisor the other end.
TEST_P(Living, EachCanSeal) {
  Spec spec = living();
  spec.seals = true;
  const std::string said = live(spec, GetParam(), [](Live& live) {
    const sys::OwnedFd seal = live.sandbox().take_seal();
    const std::string first = live.shell("echo one >&$WEIR_SEAL; echo $WEIR_SEAL").text();
    const std::string second = live.shell("echo two >&3").text();
    char buffer[64];
    const ssize_t got = ::read(seal.get(), buffer, sizeof buffer);
    return first + second + std::string(buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  });
  EXPECT_EQ(said, "3\n|0|0one\ntwo\n");
}

TEST_P(Living, SeveralAtOnceAndWhatTheyUsed) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   const auto sleeper = live.begin("exec sleep 100");
                   const auto busy = live.run({"python3", "-c", "sum(i*i for i in range(2000000))"});
                   live.inside().signal(sleeper, SIGTERM);
                   const int status = live.wait(sleeper);
                   return std::to_string(WTERMSIG(status)) + (busy.ended.user_us > 20'000 ? " busy" : " idle") +
                          (busy.ended.max_rss_kib > 1000 ? " large" : " small");
                 }),
            "15 busy large");
}

// A signal reaches the whole group, and nobody else.
TEST_P(Living, ASignalIsForItsGroup) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   const auto other = live.begin("echo x > /tmp/other; exec sleep 100");
                   const auto group = live.begin("sleep 100 & sleep 100 & wait");
                   live.until([&] { return live.shell("pgrep -c sleep").out == "3\n"; });
                   live.inside().signal(group, SIGKILL);
                   live.wait(group);
                   live.until([&] { return live.shell("pgrep -c sleep").out == "1\n"; });
                   live.inside().signal(group, SIGKILL);  // it has ended: nothing happens
                   const std::string left = live.shell("pgrep -c sleep").out;
                   live.inside().signal(other, SIGKILL);
                   return left + std::to_string(live.wait(other));
                 }),
            "1\n9");
}

// Orphans are reaped: none stays as a zombie, and none is reported.
TEST_P(Living, OrphansAreReaped) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   live.shell("for i in 1 2 3 4 5; do (sleep 0.05 &) ; done");
                   live.until([&] { return live.shell("cat /proc/[0-9]*/stat | grep -c sleep").out == "0\n"; });
                   return std::to_string(live.inside().processes());
                 }),
            "0");
}

TEST_P(Living, ATerminalOfItsOwn) {
  EXPECT_EQ(
      live(GetParam(),
           [](Live& live) {
             std::string text;
             bool over = false;
             sys::OwnedFd master;
             Inside::Id id = 0;
             const Inside::Program program{
                 .argv = {"sh", "-c", "stty size; tty; read x; stty size; echo \"$x\"; kill -STOP $$"},
                 .env = {{"PATH", "/usr/bin:/bin"}},
                 .workdir = "",
                 .terminal = true,
                 .rows = 33,
                 .columns = 99};
             id = live.inside().start(
                 program, {},
                 [&](Result<Inside::Begun> begun) { master = begun ? std::move(begun->terminal) : sys::OwnedFd(); },
                 [&](Inside::Ended) { over = true; });
             live.until([&] { return master.valid(); });
             ::fcntl(master.get(), F_SETFL, O_NONBLOCK);
             const auto look = [&] {
               char buffer[4096];
               const ssize_t got = ::read(master.get(), buffer, sizeof buffer);
               if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
             };
             live.until([&] {
               look();
               return text.find("pts/") != std::string::npos;
             });
             live.inside().resize(id, 44, 111);
             if (::write(master.get(), "typed\n", 6) != 6) return std::string("cannot type");
             live.until([&] {
               look();
               return text.rfind("typed\r\n") > text.find("44 111");
             });
             live.inside().signal(id, SIGKILL);
             live.until([&] { return over; });
             return text;
           }),
      "33 99\r\n/dev/pts/0\r\ntyped\r\n44 111\r\ntyped\r\n");
}

// A program that hits the limit of processes takes the others no answer: what cannot begin is told.
TEST(LivingLimits, AForkBombLeavesAClearError) {
  Spec spec = living();
  spec.limits.processes = 20;
  const std::string said = live(spec, As::root, [](Live& live) {
    const auto bomb = live.begin(
        "exec python3 -c 'import os,time\nwhile True:\n  try:\n    if os.fork()==0: time.sleep(100)\n"
        "  except OSError: time.sleep(0.001)'");
    std::string failure;
    live.until([&] {
      failure = live.shell("true").failure;
      return !failure.empty();
    });
    const std::string file = live.get("/etc/hostname");
    live.inside().signal(bomb, SIGKILL);
    live.wait(bomb);
    live.until([&] { return live.shell("exit 3").failure.empty(); });
    return failure + "\n" + file;
  });
  EXPECT_EQ(said,
            "sh: cannot begin a process: Resource temporarily unavailable\n"
            "cannot begin a process: Resource temporarily unavailable");
}

// Init cannot be killed, stopped, traced or looked at, and takes no notice.
TEST_P(Living, InitIsOutOfReach) {
  EXPECT_EQ(
      live(GetParam(),
           [](Live& live) {
             const std::string tried =
                 live.shell("kill -9 1; kill -STOP 1; kill -INT 1; ls -d /proc/1 2>&1; cat /proc/1/environ 2>&1").out;
             return tried + live.shell("echo alive").text();
           }),
      "ls: cannot access '/proc/1': No such file or directory\n"
      "cat: /proc/1/environ: No such file or directory\nalive\n|0");
}

TEST_P(Living, AMillionOfArguments) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   std::vector<std::string> argv = {"sh", "-c", "echo $#", "sh"};
                   argv.resize(argv.size() + 10'000, std::string(100, 'x'));
                   std::string said = live.run(argv).text();
                   argv.resize(argv.size() + 20'000, std::string(100, 'x'));
                   said += live.run(argv).text() + "\n";
                   return said + live.run({"true", std::string("a\0b", 3)}).text();
                 }),
            "10000\n|0arguments and environment together are larger than 2 MiB\n"
            "an argument, variable or path holds a NUL byte");
}

// However many there are: the one too many is told, and when they have ended there is room again.
TEST_P(Living, AThousandProcessesAndNoMore) {
  EXPECT_EQ(
      live(GetParam(),
           [](Live& live) {
             std::size_t begun = 0;
             std::size_t ended = 0;
             std::string failure;
             std::vector<Inside::Id> all;
             for (std::size_t i = 0; i <= Inside::kMaxProcesses; ++i) {
               const auto null = [] { return sys::OwnedFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); };
               all.push_back(live.inside().start(
                   {.argv = {"sleep", "100"}, .env = {}, .workdir = "/"}, {.in = null(), .out = null(), .err = null()},
                   [&](Result<Inside::Begun> result) {
                     if (result) ++begun;
                     if (!result) failure = result.error().what();
                   },
                   [&](Inside::Ended) { ++ended; }));
             }
             live.until([&] { return begun == Inside::kMaxProcesses && !failure.empty(); });
             for (const Inside::Id id : all) live.inside().signal(id, SIGKILL);
             live.until([&] { return ended == begun; });
             return failure + live.shell("echo room").text();
           }),
      "the sandbox has 1024 processes, which is the limitroom\n|0");
}

INSTANTIATE_TEST_SUITE_P(As, Living, ::testing::Values(As::root, As::ordinary),
                         [](const auto& as) { return as.param == As::root ? "Root" : "Ordinary"; });

}  // namespace
}  // namespace weir::sandbox
