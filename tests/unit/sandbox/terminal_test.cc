// A terminal of its own (-t), and the caller's.
#include "sandbox/terminal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::HasSubstr;

// The caller's side: what a person sees is read from `master`.
struct CallersTerminal {
  CallersTerminal() {
    int outer = -1;
    int inner = -1;
    const winsize size{.ws_row = 33, .ws_col = 77, .ws_xpixel = 0, .ws_ypixel = 0};
    if (::openpty(&outer, &inner, nullptr, nullptr, &size) != 0) std::abort();
    master = sys::OwnedFd(outer);
    slave = sys::OwnedFd(inner);
  }
  tcflag_t local_modes() const {
    termios modes{};
    ::tcgetattr(slave.get(), &modes);
    return modes.c_lflag;
  }
  std::string read_until(const std::string& text) const {
    std::string seen;
    while (seen.find(text) == std::string::npos) {
      pollfd waiting{.fd = master.get(), .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 10'000) != 1) return seen + " (nothing more)";
      std::array<char, 1024> buffer;
      const ssize_t got = ::read(master.get(), buffer.data(), buffer.size());
      if (got <= 0) return seen + " (end)";
      seen.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return seen;
  }
  void type(const std::string& text) const {
    if (::write(master.get(), text.data(), text.size()) < 0) std::abort();
  }
  sys::OwnedFd master;
  sys::OwnedFd slave;
};

// A supervisor like the one of `weir run -t`, on the caller's terminal.
int supervise(const Spec& spec, const CallersTerminal& caller) {
  for (const int fd : {0, 1, 2}) ::dup2(caller.slave.get(), fd);
  auto keeper = TerminalKeeper::keep(0, TerminalKeeper::Mode::raw);
  auto reactor = sys::Reactor::create();
  auto sandbox = Sandbox::start(spec);
  if (!keeper || !reactor || !sandbox) return 125;
  auto pump = TerminalPump::start(*reactor, sandbox->terminal(), 0, 1);
  if (!pump) return 125;
  int code = 125;
  sys::CallbackHandler handler([&](std::uint32_t) {
    const auto event = sandbox->on_control_readable();
    if (event && !event->has_value()) return;
    if (event) code = WEXITSTATUS((*event)->status);
    reactor->stop();
  });
  if (!reactor->watch(sandbox->control_fd(), EPOLLIN, handler) || !reactor->run()) return 125;
  reactor->forget(sandbox->control_fd());
  sandbox->kill();
  (*pump)->drain();
  return code;
}

Spec on_terminal(const std::string& script) {
  Spec spec = shell(script);
  spec.terminal = true;
  return spec;
}

class TerminalTest : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam())) GTEST_SKIP() << "needs root";
  }
  int end_of(pid_t supervisor) {
    int status = 0;
    ::waitpid(supervisor, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  CallersTerminal caller_;
};

INSTANTIATE_TEST_SUITE_P(Users, TerminalTest, ::testing::Values(As::root, As::ordinary),
                         [](const auto& info) { return info.param == As::root ? "Root" : "Ordinary"; });

TEST_P(TerminalTest, IsTheSandboxsOwnAndHasTheCallersSize) {
  const pid_t supervisor = fork_as(GetParam(), [&] {
    return supervise(on_terminal("tty; stty size; read line; echo got $line; tty < /dev/tty; exit 6"), caller_);
  });
  EXPECT_THAT(caller_.read_until("33 77"), HasSubstr("/dev/pts/0\r\n33 77"));
  caller_.type("hello\r");
  EXPECT_THAT(caller_.read_until("/dev/tty"), HasSubstr("got hello"));
  EXPECT_EQ(end_of(supervisor), 6);
  EXPECT_NE(caller_.local_modes() & ICANON, 0u);
}

TEST_P(TerminalTest, InterruptsAreTypedInside) {
  const pid_t supervisor = fork_as(GetParam(), [&] {
    return supervise(on_terminal("trap 'exit 9' INT; echo ready; while :; do sleep 0.02; done"), caller_);
  });
  caller_.read_until("ready");
  EXPECT_EQ(caller_.local_modes() & (ICANON | ISIG | ECHO), 0u);  // raw: ^C is a byte here
  caller_.type("\x03");
  EXPECT_EQ(end_of(supervisor), 9);
}

TEST_P(TerminalTest, LastOutputIsNotLost) {
  const pid_t supervisor =
      fork_as(GetParam(), [&] { return supervise(on_terminal("seq 1 2000; echo the-end"), caller_); });
  EXPECT_THAT(caller_.read_until("the-end"), HasSubstr("1999\r\n2000\r\nthe-end"));
  EXPECT_EQ(end_of(supervisor), 0);
}

TEST_P(TerminalTest, IsSaneAfterTheSupervisorWasKilled) {
  const pid_t supervisor =
      fork_as(GetParam(), [&] { return supervise(on_terminal("echo ready; sleep 600"), caller_); });
  caller_.read_until("ready");
  ASSERT_EQ(caller_.local_modes() & ICANON, 0u);
  ::kill(supervisor, SIGKILL);
  EXPECT_EQ(end_of(supervisor), 1000 + SIGKILL);
  // The guard has the terminal open: when it has done its work, the last other end closes.
  const int slave = caller_.slave.get();
  termios modes{};
  for (int i = 0; i < 1000 && (caller_.local_modes() & ICANON) == 0; ++i) ::poll(nullptr, 0, 10);
  ASSERT_EQ(::tcgetattr(slave, &modes), 0);
  EXPECT_NE(modes.c_lflag & (ICANON | ECHO), 0u);
}

TEST(TerminalKeeper, KeepsNothingThatIsNoTerminal) {
  const sys::OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto keeper = TerminalKeeper::keep(null.get(), TerminalKeeper::Mode::raw);
  ASSERT_TRUE(keeper);
  EXPECT_FALSE(keeper->has_value());
}

enum class Meanwhile : std::uint8_t { nothing, output_is_stopped, another_job_comes_to_front };

// Runs in a process whose terminal `caller` is: keeps the modes as they are, sets ECHO off, ends the keeper.
int set_echo_off(const CallersTerminal& caller, int output, Meanwhile meanwhile) {
  ::setsid();
  ::ioctl(caller.slave.get(), TIOCSCTTY, 0);
  ::dup2(output, STDOUT_FILENO);
  ::signal(SIGTTOU, SIG_IGN);
  const auto keeper = TerminalKeeper::keep(caller.slave.get(), TerminalKeeper::Mode::as_is);
  termios modes{};
  if (!keeper || ::tcgetattr(caller.slave.get(), &modes) != 0) return 1;
  modes.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (::tcsetattr(caller.slave.get(), TCSANOW, &modes) != 0) return 2;
  if (meanwhile == Meanwhile::nothing) return 0;
  if (meanwhile == Meanwhile::output_is_stopped) {
    ::alarm(10);  // SIGALRM ends whoever waits for output that nobody takes
    return ::tcflow(caller.slave.get(), TCOOFF) == 0 &&
                   ::fcntl(caller.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK) == 0 &&
                   ::write(caller.slave.get(), "x", 1) != 1
               ? 0
               : 5;
  }
  auto other = sys::ChildProcess::clone(0);
  if (!other) return 3;
  if (other->in_child()) {
    while (true) ::pause();
  }
  ::setpgid(other->pid(), other->pid());
  return ::tcsetpgrp(caller.slave.get(), other->pid()) == 0 ? 0 : 4;
}

// Whether ECHO is on afterwards.
bool echoes_after(const CallersTerminal& caller, int output, Meanwhile meanwhile) {
  const pid_t pid = fork_as(As::root, [&] { return set_echo_off(caller, output, meanwhile); });
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  return (caller.local_modes() & ECHO) != 0;
}

TEST(TerminalKeeper, UndoesWhatTheCommandSet) {
  const CallersTerminal caller;
  EXPECT_TRUE(echoes_after(caller, caller.slave.get(), Meanwhile::nothing));
}

TEST(TerminalKeeper, LetsOutputGoOnThatWasStopped) {
  const CallersTerminal caller;
  EXPECT_TRUE(echoes_after(caller, caller.slave.get(), Meanwhile::output_is_stopped));
  EXPECT_EQ(::write(caller.slave.get(), "x", 1), 1);
  EXPECT_EQ(caller.read_until("x"), "x");
}

// Runs in a process of its own: 0, 1 and 2 are the test's.
int lose_and_put_back_flags() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return 1;
  for (const int fd : {0, 1, 2}) ::dup2(ends[fd == 0 ? 0 : 1], fd);
  ::fcntl(1, F_SETFL, O_APPEND);
  const StatusFlags flags = StatusFlags::now();
  ::fcntl(0, F_SETFL, O_NONBLOCK | O_ASYNC);
  ::fcntl(1, F_SETFL, O_NONBLOCK);
  flags.put_back();
  const int kinds = O_NONBLOCK | O_ASYNC | O_APPEND;
  return (::fcntl(0, F_GETFL) & kinds) == 0 && (::fcntl(2, F_GETFL) & kinds) == O_APPEND ? 0 : 2;
}

TEST(StatusFlags, AreAsTheyWere) {
  const pid_t pid = fork_as(As::root, [] { return lose_and_put_back_flags(); });
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

// Runs in a process of its own. The command prints for ever, and nobody reads `output`.
int pump_into(const CallersTerminal& sandbox, int output) {
  ::alarm(10);  // a pump that blocks is ended by SIGALRM
  auto reactor = sys::Reactor::create();
  auto command = sys::ChildProcess::clone(0);
  if (!reactor || !command) return 1;
  if (command->in_child()) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (::write(sandbox.slave.get(), "flood", 5) > 0) {
    }
    ::_exit(1);
  }
  const sys::OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto pump = TerminalPump::start(*reactor, sandbox.master.get(), null.get(), output);
  reactor->at(sys::monotonic_ms() + 300, [&] { reactor->stop(); });
  return pump && reactor->run() ? 0 : 2;
}

TEST(TerminalPump, IsNotHeldUpByASocketThatNobodyReads) {
  const CallersTerminal sandbox;
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const sys::OwnedFd output(ends[0]);
  const sys::OwnedFd reader(ends[1]);
  const pid_t pid = fork_as(As::root, [&] { return pump_into(sandbox, output.get()); });
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  std::array<char, 5> first{};
  EXPECT_EQ(::read(reader.get(), first.data(), first.size()), 5);  // the twin: it did pump
}

TEST(TerminalKeeper, LeavesTheTerminalToWhateverReadsTheOutput) {
  const CallersTerminal caller;
  const sys::OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(echoes_after(caller, null.get(), Meanwhile::nothing));
}

TEST(TerminalKeeper, LeavesTheTerminalToTheJobInFront) {
  const CallersTerminal caller;
  EXPECT_FALSE(echoes_after(caller, caller.slave.get(), Meanwhile::another_job_comes_to_front));
}

}  // namespace
}  // namespace weir::sandbox::testing
