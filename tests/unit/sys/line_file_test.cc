#include "sys/line_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace weir::sys {
namespace {

using testing::HasSubstr;

class LineFileTest : public testing::Test {
 protected:
  LineFileTest() {
    std::string pattern = testing::TempDir() + "weir-lines-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/lines";
  }
  ~LineFileTest() override { std::filesystem::remove_all(folder_); }

  void append(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }

  std::string folder_;
  std::string path_;
};

TEST_F(LineFileTest, GivesWholeLinesOnly) {
  append("one\n\ntw");
  auto file = LineFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->next_line(10).value(), "one");
  EXPECT_EQ(file->next_line(10).value(), "");
  EXPECT_EQ(file->next_line(10).value(), std::nullopt);
  EXPECT_TRUE(file->has_half_line());
  append("o\n");
  EXPECT_EQ(file->next_line(10).value(), "two");
  EXPECT_FALSE(file->has_half_line());
}

TEST_F(LineFileTest, ALineThatIsTooLongIsCutAndTheNextOneWhole) {
  append(std::string(200'000, 'x') + "\nnext\n" + std::string(11, 'y') + "\n" + std::string(10, 'z') + "\n");
  auto file = LineFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->next_line(10).value(), std::string(11, 'x'));
  EXPECT_EQ(file->next_line(10).value(), "next");
  EXPECT_EQ(file->next_line(10).value(), std::string(11, 'y'));
  EXPECT_EQ(file->next_line(10).value(), std::string(10, 'z'));
  EXPECT_EQ(file->next_line(10).value(), std::nullopt);
}

TEST_F(LineFileTest, NoticesThatTheFileBecameShorter) {
  append("one\n");
  auto file = LineFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->next_line(10).value(), "one");
  std::filesystem::resize_file(path_, 1);
  const auto line = file->next_line(10);
  ASSERT_FALSE(line);
  EXPECT_THAT(line.error().what(), HasSubstr("became shorter"));
}

TEST_F(LineFileTest, WaitsForWhatIsAppended) {
  append("one\n");
  auto file = LineFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->next_line(10).value(), "one");
  ASSERT_TRUE(file->wait(0));  // the watch stands
  std::thread writer([this] { append("two\n"); });
  ASSERT_TRUE(file->wait(60'000));
  writer.join();
  EXPECT_EQ(file->next_line(10).value(), "two");
}

TEST_F(LineFileTest, TakesRegularFilesOnly) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(LineFile::open(path_).error().what(), HasSubstr("not a regular file"));
  EXPECT_THAT(LineFile::open(folder_).error().what(), HasSubstr("not a regular file"));
  EXPECT_THAT(LineFile::open(folder_ + "/none").error().what(), HasSubstr("No such file"));
}

}  // namespace
}  // namespace weir::sys
