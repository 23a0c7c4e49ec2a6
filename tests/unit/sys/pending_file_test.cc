#include "sys/pending_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sys/files.h"

namespace weir::sys {
namespace {

using testing::HasSubstr;

class PendingFileTest : public testing::Test {
 protected:
  PendingFileTest() {
    std::string pattern = testing::TempDir() + "weir-pending-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~PendingFileTest() override { std::filesystem::remove_all(folder_); }

  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::string folder_;
};

TEST_F(PendingFileTest, NothingIsThereUntilItIsWrittenAndThenAllOfIt) {
  const auto file = PendingFile::prepare(folder_ + "/page");
  ASSERT_TRUE(file) << file.error().what();
  EXPECT_EQ(entries(), 0u);
  ASSERT_TRUE(file->write(as_bytes("one")));
  ASSERT_TRUE(file->write(as_bytes("two")));
  EXPECT_EQ(read_file(folder_ + "/page", 10).value(), "two");
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(std::filesystem::status(folder_ + "/page").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(PendingFileTest, StaysInItsFolderWhateverTakesTheFoldersName) {
  std::filesystem::create_directory(folder_ + "/a");
  std::filesystem::create_directory(folder_ + "/elsewhere");
  const auto file = PendingFile::prepare(folder_ + "/a/page");
  ASSERT_TRUE(file);
  std::filesystem::rename(folder_ + "/a", folder_ + "/b");
  std::filesystem::create_symlink(folder_ + "/elsewhere", folder_ + "/a");
  ASSERT_TRUE(file->write(as_bytes("text")));
  EXPECT_EQ(read_file(folder_ + "/b/page", 10).value(), "text");
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/elsewhere"));
}

TEST_F(PendingFileTest, ReplacesALinkThatCameMeanwhile) {
  std::ofstream(folder_ + "/victim") << "mine";
  const auto file = PendingFile::prepare(folder_ + "/page");
  ASSERT_TRUE(file);
  std::filesystem::create_symlink(folder_ + "/victim", folder_ + "/page");
  ASSERT_TRUE(file->write(as_bytes("text")));
  EXPECT_EQ(read_file(folder_ + "/victim", 10).value(), "mine");
  EXPECT_FALSE(std::filesystem::is_symlink(folder_ + "/page"));
}

TEST_F(PendingFileTest, RefusesWhatCannotBeWritten) {
  std::filesystem::create_symlink("victim", folder_ + "/link");
  ASSERT_EQ(::mkfifo((folder_ + "/pipe").c_str(), 0600), 0);
  for (const char* name : {"/none/page", "/pipe/page"})
    EXPECT_THAT(PendingFile::prepare(folder_ + name).error().what(), HasSubstr("cannot write")) << name;
  for (const char* name : {"/link", "/pipe", "/.", ""}) EXPECT_FALSE(PendingFile::prepare(folder_ + name)) << name;
  EXPECT_FALSE(PendingFile::prepare("/proc/page"));
  EXPECT_TRUE(PendingFile::prepare(folder_ + "/page"));
}

TEST_F(PendingFileTest, AFailedWriteLeavesNothing) {
  std::filesystem::create_directory(folder_ + "/a");
  const auto file = PendingFile::prepare(folder_ + "/a/page");
  ASSERT_TRUE(file);
  std::filesystem::create_directory(folder_ + "/a/page");
  EXPECT_FALSE(file->write(as_bytes("text")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ + "/a"), {}), 1);
}

}  // namespace
}  // namespace weir::sys
