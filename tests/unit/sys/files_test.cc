#include "sys/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weir::sys {
namespace {

using testing::HasSubstr;

class Files : public testing::Test {
 protected:
  Files() {
    std::string pattern = testing::TempDir() + "weir-files-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }

  std::string folder_;
};

TEST_F(Files, ReadsUpToTheBoundAndNotBeyond) {
  const std::string path = write("a", std::string(100'000, 'x'));
  EXPECT_EQ(read_file(path, 100'000).value().size(), 100'000u);
  EXPECT_THAT(read_file(path, 99'999).error().what(), HasSubstr("larger than 99999 bytes"));
  EXPECT_EQ(read_file(write("empty", ""), 0).value(), "");
}

TEST_F(Files, ErrorsNameThePath) {
  EXPECT_THAT(read_file(folder_ + "/none", 10).error().what(), HasSubstr("/none: No such file"));
  EXPECT_THAT(read_file(folder_, 10).error().what(), HasSubstr("Is a directory"));
  EXPECT_THAT(read_file("/dev/zero", 10).error().what(), HasSubstr("larger than 10"));
}

TEST_F(Files, TheOperatorsFileMayBeAbsent) {
  EXPECT_EQ(read_operator_file(folder_ + "/floor.toml", 10).value(), std::nullopt);
  EXPECT_EQ(read_operator_file(folder_ + "/no/floor.toml", 10).value(), std::nullopt);
}

TEST_F(Files, TheOperatorsFileIsRootsAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make files of root";
  ::chmod(folder_.c_str(), 0755);
  const std::string path = write("floor.toml", "x");
  ::chmod(path.c_str(), 0644);
  EXPECT_EQ(read_operator_file(path, 10).value(), "x");
  for (const mode_t mode : {0664u, 0646u}) {
    ::chmod(path.c_str(), mode);
    EXPECT_THAT(read_operator_file(path, 10).error().what(), HasSubstr("writable by others")) << mode;
  }
  ::chmod(path.c_str(), 0644);
  ASSERT_EQ(::chown(path.c_str(), 1001, 0), 0);
  EXPECT_THAT(read_operator_file(path, 10).error().what(), HasSubstr("not owned by root"));
  ASSERT_EQ(::chown(path.c_str(), 0, 0), 0);
  ::chmod(folder_.c_str(), 0777);
  EXPECT_THAT(read_operator_file(path, 10).error().what(), HasSubstr("writable by others"));
}

TEST_F(Files, TheOperatorsFileIsNoLinkAndNoPipe) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make files of root";
  ::chmod(folder_.c_str(), 0755);
  const std::string link = folder_ + "/link";
  ASSERT_EQ(::symlink(write("real", "x").c_str(), link.c_str()), 0);
  EXPECT_FALSE(read_operator_file(link, 10));
  const std::string fifo = folder_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0644), 0);
  EXPECT_THAT(read_operator_file(fifo, 10).error().what(), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace weir::sys
