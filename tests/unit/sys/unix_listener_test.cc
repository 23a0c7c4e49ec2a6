#include "sys/unix_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>

namespace weir::sys {
namespace {

using testing::HasSubstr;

class UnixListenerTest : public testing::Test {
 protected:
  UnixListenerTest() {
    std::string pattern = testing::TempDir() + "weir-unix-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~UnixListenerTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

// What runs in a sandbox may see the socket in a shared folder, and has the user's own id outside.
TEST_F(UnixListenerTest, WhoLivesInAPidNamespaceBelowIsAnother) {
  const std::string path = folder_ + "/s";
  auto listener = UnixListener::create(path);
  ASSERT_TRUE(listener) << listener.error().what();
  const auto peer_of = [&](bool deeper) {
    std::array<int, 2> done{};
    EXPECT_EQ(::pipe(done.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(done[1]);
      if (deeper && ::unshare(::geteuid() == 0 ? CLONE_NEWPID : CLONE_NEWUSER | CLONE_NEWPID) != 0) ::_exit(2);
      const pid_t inner = ::fork();
      if (inner == 0) {
        const auto socket = connect_unix(path);
        char end = 0;
        static_cast<void>(::read(done[0], &end, 1));  // lives until it was looked at
        ::_exit(0);
      }
      ::waitpid(inner, nullptr, 0);
      ::_exit(0);
    }
    ::close(done[0]);
    pollfd waiting{.fd = listener->fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&waiting, 1, 5000), 1);
    const auto accepted = listener->accept();
    EXPECT_TRUE(accepted.socket.valid());
    ::close(done[1]);
    ::waitpid(child, nullptr, 0);
    return accepted.peer;
  };
  EXPECT_EQ(peer_of(false), UnixListener::Accepted::Peer::same_user);
  EXPECT_EQ(peer_of(true), UnixListener::Accepted::Peer::another);
}

TEST_F(UnixListenerTest, IsItsOwnersFromBirthAndGoesWithIt) {
  const std::string path = folder_ + "/s";
  const mode_t before = ::umask(0);
  auto listener = UnixListener::create(path);
  ::umask(before);
  ASSERT_TRUE(listener) << listener.error().what();
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 0600u);
  EXPECT_FALSE(listener->accept().socket.valid()) << "nobody waits";
  const auto client = connect_unix(path);
  ASSERT_TRUE(client) << client.error().what();
  const auto accepted = listener->accept();
  EXPECT_TRUE(accepted.socket.valid());
  EXPECT_EQ(accepted.peer, UnixListener::Accepted::Peer::same_user);
  {
    const UnixListener moved = std::move(*listener);
  }
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST_F(UnixListenerTest, LeavesWhatTookItsPlace) {
  const std::string path = folder_ + "/s";
  std::optional<UnixListener> listener(std::move(*UnixListener::create(path)));
  ASSERT_EQ(::unlink(path.c_str()), 0);
  std::ofstream(path) << "another's";
  listener.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(UnixListenerTest, WhereItCannotBe) {
  std::ofstream(folder_ + "/file") << "mine";
  EXPECT_THAT(UnixListener::create(folder_ + "/file").error().what(), HasSubstr("something is there already"));
  std::filesystem::create_symlink(folder_ + "/nowhere", folder_ + "/link");
  EXPECT_THAT(UnixListener::create(folder_ + "/link").error().what(), HasSubstr("something is there already"));
  EXPECT_THAT(UnixListener::create(folder_ + "/" + std::string(108, 'x')).error().what(), HasSubstr("too long"));
  EXPECT_FALSE(UnixListener::create(folder_ + "/none/s"));
  EXPECT_FALSE(UnixListener::create(folder_ + "/"));
  ASSERT_EQ(::chmod(folder_.c_str(), 0770), 0);
  EXPECT_THAT(UnixListener::create(folder_ + "/s").error().what(), HasSubstr("others may write"));
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  EXPECT_TRUE(UnixListener::create(folder_ + "/s")) << "the twin";
}

}  // namespace
}  // namespace weir::sys
