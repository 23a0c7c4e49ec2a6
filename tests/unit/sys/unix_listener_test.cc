#include "sys/unix_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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
