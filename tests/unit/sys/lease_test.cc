#include "sys/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace weir::sys {
namespace {

class LeaseTest : public testing::Test {
 protected:
  LeaseTest() {
    path_ = testing::TempDir() + "weir-lease-XXXXXX";
    OwnedFd(::mkstemp(path_.data()));
    ::sigemptyset(&io_);
    ::sigaddset(&io_, SIGIO);
    ::sigprocmask(SIG_BLOCK, &io_, &before_);
    signals_ = OwnedFd(::signalfd(-1, &io_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~LeaseTest() override {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) > 0) {
    }
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
    ::unlink(path_.c_str());
  }
  OwnedFd open(int flags) const { return OwnedFd(::open(path_.c_str(), flags | O_CLOEXEC)); }

  std::string path_;
  sigset_t io_{};
  sigset_t before_{};
  OwnedFd signals_;
};

TEST_F(LeaseTest, IsToldOfAnOpenThatWaits) {
  const OwnedFd file = open(O_RDONLY);
  ASSERT_TRUE(take_lease(file.get()));
  EXPECT_FALSE(is_lease_wanted(file.get()));
  EXPECT_TRUE(open(O_PATH).valid());
  EXPECT_FALSE(is_lease_wanted(file.get())) << "O_PATH opens nothing";
  EXPECT_FALSE(open(O_RDONLY | O_NONBLOCK).valid());
  EXPECT_EQ(errno, EWOULDBLOCK);
  EXPECT_TRUE(is_lease_wanted(file.get()));
  pollfd told{.fd = signals_.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&told, 1, 5000), 1);
  give_back_lease(file.get());
  EXPECT_TRUE(open(O_RDONLY | O_NONBLOCK).valid());
}

TEST_F(LeaseTest, WantsToBeAlone) {
  const OwnedFd file = open(O_RDONLY);
  const OwnedFd other = open(O_RDONLY);
  const auto taken = take_lease(file.get());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code(), EAGAIN);
}

TEST_F(LeaseTest, HasAPatience) {
  ASSERT_TRUE(lease_patience());
}

}  // namespace
}  // namespace weir::sys
