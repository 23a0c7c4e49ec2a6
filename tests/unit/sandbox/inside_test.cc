// A hostile init, and a hostile child of a file task: what they may say, and what is not believed.
#include "sandbox/living/inside.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "sandbox_runner.h"

namespace weir::sandbox {
namespace {

using Do = Inside::FileTask::Do;

sys::OwnedFd open_file(const char* path, int flags) {
  return sys::OwnedFd(::open(path, flags | O_CLOEXEC));
}

// In the role of the supervisor, without a sandbox: orders are kept, answers are made up.
class InsideTest : public ::testing::Test {
 protected:
  InsideTest()
      : inside_(
            reactor_,
            [this](const control::ToInit& order, std::span<const int> passed) {
              if (full_) return Result<>(fail("full", full_code_));
              orders_.push_back(order);
              passed_.clear();
              for (const int fd : passed) passed_.emplace_back(::dup(fd));
              return Result<>();
            },
            [this](const Error& why) { broken_ = why.what(); }) {}

  Inside::Id start(bool terminal = false) {
    Inside::Stdio stdio;
    for (sys::OwnedFd* fd : {&stdio.in, &stdio.out, &stdio.err}) *fd = open_file("/dev/null", O_RDWR);
    return inside_.start(
        {.argv = {"true"}, .env = {}, .workdir = "", .terminal = terminal}, std::move(stdio),
        [this](Result<Inside::Begun> begun) { said_ += begun ? "begun " : begun.error().what(); },
        [this](const Inside::Ended&) { said_ += "ended "; });
  }
  bool take(const control::FromInit& message, sys::OwnedFd passed = {}) {
    const bool taken = inside_.take(message, passed);
    return taken;
  }

  // The child's end of the socket is answered on.
  Inside::Id file(Do what) {
    const Inside::Id id = inside_.files(
        {.what = what, .path = "/file"},
        [this](Result<Inside::FileAnswer> answer) {
          said_ += answer ? "answered " : answer.error().what() + " ";
          if (answer) answer_ = std::move(*answer);
        },
        [this](Result<> how) { said_ += how ? "done " : how.error().what() + " "; });
    child_ = sys::Channel(sys::OwnedFd(::dup(passed_[1].get())));
    passed_.clear();
    return id;
  }
  void say(const control::FromFileTask& message, const sys::OwnedFd& passed = {}) {
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    ASSERT_TRUE(child_.send(control::encode(message, buffer), passed.get()));
    look();
  }
  void look() {
    reactor_.at(sys::monotonic_ms() + 1, [this] { reactor_.stop(); });
    ASSERT_TRUE(reactor_.run());
  }
  std::string said() { return std::exchange(said_, ""); }

  sys::Reactor reactor_ = *sys::Reactor::create();
  bool full_ = false;
  int full_code_ = EAGAIN;
  std::vector<control::ToInit> orders_;
  std::vector<sys::OwnedFd> passed_;
  std::string broken_;
  std::string said_;
  Inside::FileAnswer answer_;
  sys::Channel child_;
  Inside inside_;
};

TEST_F(InsideTest, AnHonestInitIsBelieved) {
  const auto id = start();
  EXPECT_TRUE(take(control::ProcessStarted{.id = id, .pid = 2}));
  EXPECT_TRUE(take(control::ProcessExited{.id = id, .how = {}}));
  EXPECT_EQ(said(), "begun ended ");
  EXPECT_TRUE(take(control::ProcessNotExecuted{.id = start(), .pid = 3, .code = ENOENT}));
  EXPECT_EQ(said(), "begun ended ");
  EXPECT_TRUE(take(control::ProcessFailed{.id = start(), .code = EAGAIN, .what = "cannot"}));
  EXPECT_EQ(said(), "true: cannot");
  EXPECT_EQ(inside_.processes(), 0u);
}

TEST_F(InsideTest, WhatNobodyWaitsForBreaksTheProtocol) {
  const auto id = start();
  EXPECT_FALSE(take(control::ProcessStarted{.id = id + 1, .pid = 2}));
  EXPECT_FALSE(take(control::ProcessExited{.id = id, .how = {}}));
  EXPECT_FALSE(take(control::ProcessStarted{.id = id, .pid = 2}, open_file("/dev/null", O_RDWR)));
  EXPECT_FALSE(take(control::StandsStill{}));
  EXPECT_FALSE(take(control::Moves{}));
  EXPECT_FALSE(take(control::Started{}));
  EXPECT_TRUE(take(control::ProcessStarted{.id = id, .pid = 2}));
  EXPECT_FALSE(take(control::ProcessStarted{.id = id, .pid = 2}));
  EXPECT_FALSE(take(control::ProcessFailed{.id = id, .code = 1, .what = ""}));
  EXPECT_FALSE(take(control::ProcessNotExecuted{.id = id, .pid = 2, .code = 1}));
  EXPECT_TRUE(take(control::ProcessExited{.id = id, .how = {}}));
  EXPECT_FALSE(take(control::ProcessExited{.id = id, .how = {}}));
  EXPECT_EQ(said(), "begun ended ");
}

TEST_F(InsideTest, ATerminalIsATerminal) {
  const auto id = start(true);
  EXPECT_FALSE(take(control::ProcessStarted{.id = id, .pid = 2}));
  EXPECT_FALSE(take(control::ProcessStarted{.id = id, .pid = 2}, open_file("/dev/null", O_RDWR)));
  EXPECT_FALSE(take(control::ProcessStarted{.id = id, .pid = 2}, open_file("/", O_RDONLY)));
  EXPECT_TRUE(take(control::ProcessStarted{.id = id, .pid = 2}, open_file("/dev/ptmx", O_RDWR | O_NOCTTY)));
  EXPECT_EQ(said(), "begun ");
}

TEST_F(InsideTest, OrdersWaitForRoomAndKeepTheirOrder) {
  full_ = true;
  const auto first = start();
  inside_.signal(first, 9);
  const auto second = start();
  look();
  EXPECT_TRUE(orders_.empty());
  full_ = false;
  while (orders_.size() < 3) look();
  EXPECT_EQ(std::get<control::StartProcess>(orders_[0]).id, first);
  EXPECT_EQ(std::get<control::SignalProcess>(orders_[1]).id, first);
  EXPECT_EQ(std::get<control::StartProcess>(orders_[2]).id, second);
  EXPECT_EQ(passed_.size(), 4u);
  EXPECT_EQ(broken_, "");
}

// Somebody else's descriptors on their way: the requests fail, not the sandbox.
TEST_F(InsideTest, OrdersWhoseDescriptorsFindNoRoomAreGivenUp) {
  full_ = true;
  full_code_ = ETOOMANYREFS;
  start();
  inside_.files(
      {.what = Do::stat, .path = "/file"},
      [this](Result<Inside::FileAnswer> answer) { said_ += answer ? "answered " : "no file "; },
      [this](Result<>) { said_ += "done "; });
  const std::uint64_t late = sys::monotonic_ms() + 10'000;
  while (said_.find("no file") == std::string::npos && sys::monotonic_ms() < late) look();
  // In either order.
  const std::string both = said();
  EXPECT_NE(both.find("too many descriptors of this user's programs are on their way"), std::string::npos) << both;
  EXPECT_NE(both.find("no file "), std::string::npos) << both;
  EXPECT_TRUE(orders_.empty());
  EXPECT_EQ(inside_.processes(), 0u);
  full_ = false;
  const auto next = start();
  EXPECT_EQ(std::get<control::StartProcess>(orders_.at(0)).id, next);
  EXPECT_TRUE(take(control::ProcessStarted{.id = next, .pid = 2}));
  EXPECT_EQ(said(), "begun ");
  EXPECT_EQ(broken_, "");
}

TEST_F(InsideTest, AnHonestChildIsBelieved) {
  file(Do::get);
  say(control::FileAnswered{}, open_file("/etc/passwd", O_RDONLY));
  EXPECT_EQ(said(), "answered ");
  EXPECT_GT(answer_.bytes, 0u);  // what the descriptor says, not the child
  say(control::FileEnded{});
  EXPECT_EQ(said(), "done ");
  file(Do::stat);
  say(control::FileAnswered{.bytes = 7});
  EXPECT_EQ(answer_.bytes, 7u);
  child_ = sys::Channel();
  look();
  EXPECT_EQ(said(), "answered the task on files inside the sandbox was ended before it was done ");
  file(Do::list);
  say(control::FileFailed{.code = ENOENT, .what = "no\n\x1b[31mfolder", .remedy = ""});
  EXPECT_EQ(said(), "no\\x0a\\x1b[31mfolder ");
}

TEST_F(InsideTest, OnlyWhatWasAskedForIsHandedOn) {
  const testing::TestFolder folder(testing::As::root);
  const std::string path = folder.write("file", "content");
  const std::string fifo = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const std::string broke = "the task on files inside the sandbox broke the protocol ";
  for (const sys::OwnedFd& fd :
       {sys::OwnedFd(), open_file("/", O_RDONLY), open_file("/dev/null", O_RDONLY), open_file(path.c_str(), O_RDWR),
        open_file(path.c_str(), O_PATH), open_file("/proc/self/maps", O_RDONLY), open_file(fifo.c_str(), O_RDWR),
        sys::OwnedFd(::socket(AF_UNIX, SOCK_STREAM, 0))}) {
    file(Do::get);
    say(control::FileAnswered{}, fd);
    EXPECT_EQ(said(), broke);
    EXPECT_TRUE(std::holds_alternative<control::EndFileTask>(orders_.back()));
  }
  for (const int flags : {O_RDONLY, O_WRONLY, O_PATH}) {
    file(Do::put);
    say(control::FileAnswered{}, open_file(path.c_str(), flags));
    EXPECT_EQ(said(), broke);
  }
  file(Do::put);
  say(control::FileAnswered{}, open_file(path.c_str(), O_RDWR));
  say(control::FileEnded{});
  EXPECT_EQ(said(), "answered done ");
  for (const Do what : {Do::stat, Do::list, Do::tar, Do::untar, Do::remove}) {
    file(what);
    say(control::FileAnswered{}, open_file(path.c_str(), O_RDONLY));
    EXPECT_EQ(said(), broke);
  }
}

TEST_F(InsideTest, AChildSaysThingsInTheirOrderAndOnce) {
  const std::string broke = "the task on files inside the sandbox broke the protocol ";
  file(Do::stat);
  say(control::FileEnded{});
  EXPECT_EQ(said(), broke);
  file(Do::list);
  say(control::FileAnswered{});
  say(control::FileAnswered{});
  EXPECT_EQ(said(), "answered " + broke);
  file(Do::stat);
  ASSERT_TRUE(child_.send(as_bytes("nonsense")));
  look();
  EXPECT_EQ(said(), broke);
  const auto id = file(Do::put);
  inside_.commit(id);  // before it was answered: nothing
  inside_.abandon(id);
  look();
  EXPECT_EQ(said(), "the task on files was given up ");
  EXPECT_EQ(broken_, "");
}

TEST_F(InsideTest, NothingBeginsWhileItStandsStill) {
  const auto still = [this](Result<> how) { said_ += how ? "still " : how.error().what() + " "; };
  inside_.freeze(still);
  start();
  look();
  EXPECT_EQ(said(), "the sandbox stands still, and nothing begins in it");
  EXPECT_TRUE(take(control::StandsStill{}));
  EXPECT_FALSE(take(control::StandsStill{}));
  EXPECT_EQ(said(), "still ");
  inside_.thaw();
  EXPECT_TRUE(std::holds_alternative<control::Thaw>(orders_.back()));
  inside_.freeze(still);
  EXPECT_TRUE(take(control::Moves{.pid = 7, .code = ETIMEDOUT}));
  EXPECT_EQ(said(), "process 7 (inside) does not stand still ");
  inside_.freeze(still);
  inside_.thaw();
  EXPECT_TRUE(take(control::StandsStill{}));
  EXPECT_EQ(said(), "the sandbox goes on ");
  EXPECT_TRUE(std::holds_alternative<control::Thaw>(orders_.back()));
  EXPECT_TRUE(take(control::ProcessStarted{.id = start(), .pid = 2}));
}

}  // namespace
}  // namespace weir::sandbox
