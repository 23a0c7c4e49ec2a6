#include "image/folder_entries.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "image/tree_writer.h"

namespace weir::image {
namespace {

using testing::HasSubstr;

// A folder `from` that is copied into `to`.
class FolderEntriesTest : public testing::Test {
 protected:
  FolderEntriesTest() {
    std::string pattern = testing::TempDir() + "weir-image-XXXXXX";
    base_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(base_ / "from" / "etc");
    std::filesystem::create_directory(base_ / "outside");
    write("outside/secret", "secret");
    write("from/etc/f", "content");
  }
  ~FolderEntriesTest() override { std::filesystem::remove_all(base_); }

  void write(const std::string& name, const std::string& text) const { std::ofstream(base_ / name) << text; }

  static sys::OwnedFd open(const std::filesystem::path& path) {
    return sys::OwnedFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }

  // Into an empty folder. Empty: it worked.
  std::string copy(Limits limits = {}, std::optional<OwnerIds> unmapped = {}) {
    std::filesystem::remove_all(base_ / "to");
    std::filesystem::create_directory(base_ / "to");
    const sys::OwnedFd source = open(base_ / "from");
    FolderEntries entries(source.get(), unmapped, limits);
    TreeWriter writer(open(base_ / "to"), Owners::one, limits);
    const auto done = writer.apply(entries, TreeWriter::Whiteouts::refused);
    tally_ = writer.tally();
    return done ? "" : done.error().what() + "; " + done.error().remedy();
  }

  std::string text(const std::string& name) const {
    std::ifstream file(base_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  struct stat status(const std::string& name) const {
    struct stat found{};
    EXPECT_EQ(::lstat((base_ / name).c_str(), &found), 0) << name;
    return found;
  }

  std::filesystem::path base_;
  Tally tally_;
};

TEST_F(FolderEntriesTest, FilesFoldersAndLinksAsTheyAre) {
  std::filesystem::create_directories(base_ / "from/a/b");
  write("from/a/b/run", "#!/bin/sh\n");
  ::chmod((base_ / "from/a/b/run").c_str(), 0751);
  ::chmod((base_ / "from/a").c_str(), 02755);
  std::filesystem::create_symlink("../etc/f", base_ / "from/a/link");
  std::filesystem::create_symlink("/nowhere/at all", base_ / "from/a/dangling");
  std::filesystem::create_symlink("loop", base_ / "from/a/loop");
  write("from/a/empty", "");
  const timespec times[] = {{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1234567, .tv_nsec = 0}};
  ::utimensat(AT_FDCWD, (base_ / "from/etc/f").c_str(), times, 0);
  ::setxattr((base_ / "from/etc/f").c_str(), "user.note", "kept", 4, 0);
  ASSERT_EQ(copy(), "");
  EXPECT_EQ(text("to/etc/f"), "content");
  EXPECT_EQ(status("to/etc/f").st_mtim.tv_sec, 1234567);
  std::array<char, 8> note{};
  EXPECT_EQ(::getxattr((base_ / "to/etc/f").c_str(), "user.note", note.data(), note.size()), 4);
  EXPECT_EQ(status("to/a/b/run").st_mode, S_IFREG | 0751u);
  EXPECT_EQ(status("to/a").st_mode, S_IFDIR | 02755u);
  EXPECT_EQ(std::filesystem::read_symlink(base_ / "to/a/link"), "../etc/f");
  EXPECT_EQ(std::filesystem::read_symlink(base_ / "to/a/dangling"), "/nowhere/at all");
  EXPECT_EQ(std::filesystem::read_symlink(base_ / "to/a/loop"), "loop");
  EXPECT_EQ(text("to/a/empty"), "");
  EXPECT_EQ(tally_.entries, 10u);
  EXPECT_EQ(tally_.bytes, 7u + 10u);
}

TEST_F(FolderEntriesTest, HardLinksStayOneFile) {
  std::filesystem::create_hard_link(base_ / "from/etc/f", base_ / "from/again");
  // Another name of a file outside is a file of its own here.
  std::filesystem::create_hard_link(base_ / "outside/secret", base_ / "from/other");
  ASSERT_EQ(copy(), "");
  EXPECT_EQ(status("to/again").st_ino, status("to/etc/f").st_ino);
  EXPECT_EQ(status("to/again").st_nlink, 2u);
  EXPECT_EQ(status("to/other").st_nlink, 1u);
  EXPECT_EQ(tally_.bytes, 7u + 6u);
}

TEST_F(FolderEntriesTest, HolesStayHoles) {
  const std::string path = base_ / "from/sparse";
  write("from/sparse", "begin");
  const sys::OwnedFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::pwrite(file.get(), "middle", 6, 5'000'001), 6);
  ASSERT_EQ(::ftruncate(file.get(), 200'000'003), 0);
  ASSERT_EQ(copy(), "");
  const struct stat made = status("to/sparse");
  EXPECT_EQ(made.st_size, 200'000'003);
  EXPECT_LT(made.st_blocks * 512, 1 << 20);
  std::ifstream read(base_ / "to/sparse");
  std::string found(6, '\0');
  read.read(found.data(), 6);
  EXPECT_EQ(found, std::string("begin\0", 6));
  read.seekg(5'000'001);
  read.read(found.data(), 6);
  EXPECT_EQ(found, "middle");
}

TEST_F(FolderEntriesTest, ZerosAtEveryPlaceSurvive) {
  std::string content(300'000, '\0');
  for (const std::size_t at : {0u, 4095u, 4096u, 12'288u, 262'143u, 262'144u, 299'999u}) content[at] = 'x';
  for (const std::size_t size : {1u, 4096u, 4097u, 262'144u, 262'145u, 299'999u, 300'000u}) {
    write("from/etc/f", content.substr(0, size));
    ASSERT_EQ(copy(), "");
    EXPECT_EQ(text("to/etc/f"), content.substr(0, size)) << size;
  }
  write("from/etc/f", std::string(8192, '\0'));
  ASSERT_EQ(copy(), "");
  EXPECT_EQ(text("to/etc/f"), std::string(8192, '\0'));
}

TEST_F(FolderEntriesTest, LinksLeadNowhere) {
  std::filesystem::create_directory_symlink(base_ / "outside", base_ / "from/way");
  std::filesystem::create_directory_symlink("../outside", base_ / "from/way2");
  ASSERT_EQ(copy(), "");
  EXPECT_TRUE(std::filesystem::is_symlink(base_ / "to/way"));
  EXPECT_EQ(tally_.bytes, 7u);
}

TEST_F(FolderEntriesTest, WhatIsNoFileIsRefused) {
  ASSERT_EQ(::mkfifo((base_ / "from/pipe").c_str(), 0600), 0);
  EXPECT_THAT(copy(), HasSubstr("'pipe': a named pipe"));
  std::filesystem::remove(base_ / "from/pipe");
  const sys::OwnedFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = base_ / "from/socket";
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_THAT(copy(), HasSubstr("'socket': a socket"));
  std::filesystem::remove(base_ / "from/socket");
  EXPECT_EQ(copy(), "");
}

TEST_F(FolderEntriesTest, PipesBelowDevAreLeftOutAndCounted) {
  std::filesystem::create_directory(base_ / "from/dev");
  ASSERT_EQ(::mkfifo((base_ / "from/dev/initctl").c_str(), 0600), 0);
  ASSERT_EQ(copy(), "");
  EXPECT_EQ(tally_.device_nodes, 1u);
  EXPECT_FALSE(std::filesystem::exists(base_ / "to/dev/initctl"));
}

TEST_F(FolderEntriesTest, SetIdBitsAreLeftOutAndCounted) {
  ::chmod((base_ / "from/etc/f").c_str(), 06755);
  ASSERT_EQ(copy(), "");
  EXPECT_EQ(status("to/etc/f").st_mode, S_IFREG | 0755u);
  EXPECT_EQ(tally_.set_id_bits, 1u);
}

TEST_F(FolderEntriesTest, RefusedNames) {
  write("from/.wh.etc", "");
  EXPECT_THAT(copy(), HasSubstr("whiteout"));
  std::filesystem::remove(base_ / "from/.wh.etc");
  std::filesystem::path deep = base_ / "from";
  for (int i = 0; i < 257; ++i) std::filesystem::create_directory(deep /= "d");
  EXPECT_THAT(copy(), HasSubstr("more than 256 folders deep"));
  std::filesystem::remove(deep);
  EXPECT_EQ(copy(), "");
}

TEST_F(FolderEntriesTest, RefusedAttributes) {
  if (::setxattr((base_ / "from/etc/f").c_str(), "user.overlay.opaque", "y", 1, 0) != 0)
    GTEST_SKIP() << "no extended attributes in " << base_;
  EXPECT_THAT(copy(), HasSubstr("user.overlay.opaque"));
  ::removexattr((base_ / "from/etc/f").c_str(), "user.overlay.opaque");
  EXPECT_EQ(copy(), "");
}

TEST_F(FolderEntriesTest, TimesBefore1970AreRefused) {
  const timespec times[] = {{.tv_sec = 0, .tv_nsec = 0}, {.tv_sec = -5, .tv_nsec = 0}};
  ::utimensat(AT_FDCWD, (base_ / "from/etc/f").c_str(), times, 0);
  EXPECT_THAT(copy(), HasSubstr("before 1970"));
}

TEST_F(FolderEntriesTest, Limits) {
  // The root folder, etc and f.
  EXPECT_EQ(copy({.entries = 3, .bytes = 7}), "");
  EXPECT_THAT(copy({.entries = 2}), HasSubstr("more than 2 entries"));
  EXPECT_THAT(copy({.entries = 3, .bytes = 6}), HasSubstr("the image is larger than"));
}

TEST_F(FolderEntriesTest, OwnersWithoutAnIdAreRefusedWhereOwnersCount) {
  const OwnerIds mine{.uid = ::geteuid(), .gid = 4'000'000'000};
  EXPECT_THAT(copy({}, mine), HasSubstr("has no id"));
  EXPECT_THAT(copy({}, OwnerIds{.uid = 4'000'000'000, .gid = ::getegid()}), HasSubstr("has no id"));
  EXPECT_EQ(copy({}, OwnerIds{.uid = 4'000'000'000, .gid = 4'000'000'000}), "");
}

// A source that somebody changes between two calls of the writer.
class Meddler : public wire::EntrySource {
 public:
  using Meddling = std::function<void(const std::string& path)>;
  Meddler(FolderEntries& entries, Meddling before_content, Meddling before_next)
      : entries_(entries), before_content_(std::move(before_content)), before_next_(std::move(before_next)) {}

  Result<std::optional<wire::TarEntry>> next() override {
    if (before_next_) before_next_(path_);
    auto entry = entries_.next();
    if (entry && *entry) path_ = (*entry)->path;
    return entry;
  }
  Result<std::size_t> read(MutableBytes into) override {
    if (before_content_) before_content_(path_);
    return entries_.read(into);
  }

 private:
  FolderEntries& entries_;
  Meddling before_content_;
  Meddling before_next_;
  std::string path_;
};

class ChangingFolderTest : public FolderEntriesTest {
 protected:
  std::string copy_while(Meddler::Meddling before_content, Meddler::Meddling before_next) {
    std::filesystem::create_directory(base_ / "to");
    const sys::OwnedFd source = open(base_ / "from");
    FolderEntries entries(source.get(), {}, {});
    Meddler meddler(entries, std::move(before_content), std::move(before_next));
    const auto done = TreeWriter(open(base_ / "to"), Owners::one).apply(meddler, TreeWriter::Whiteouts::refused);
    return done ? "" : done.error().what();
  }
  // Nothing of the folder beside it was read.
  void expect_no_secret() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(base_ / "to")) {
      EXPECT_NE(entry.path().filename(), "secret");
      if (entry.is_regular_file()) EXPECT_NE(text(std::filesystem::relative(entry.path(), base_)), "secret");
    }
  }
};

TEST_F(ChangingFolderTest, AFolderThatBecomesALinkLeadsNowhere) {
  const auto swap = [this](const std::string& path) {
    if (path != "etc") return;
    std::filesystem::rename(base_ / "from/etc", base_ / "gone");
    write("outside/f", "secret");
    std::filesystem::create_directory_symlink(base_ / "outside", base_ / "from/etc");
  };
  EXPECT_THAT(copy_while({}, swap), HasSubstr("changed while it was read"));
  expect_no_secret();
}

TEST_F(ChangingFolderTest, AFileThatBecomesALinkIsTheLink) {
  const auto swap = [this](const std::string& path) {
    if (path != "etc") return;
    std::filesystem::remove(base_ / "from/etc/f");
    std::filesystem::create_symlink("../../outside/secret", base_ / "from/etc/f");
  };
  EXPECT_EQ(copy_while({}, swap), "");
  EXPECT_TRUE(std::filesystem::is_symlink(base_ / "to/etc/f"));
}

TEST_F(ChangingFolderTest, AFileThatGoesIsRefused) {
  const auto remove = [this](const std::string& path) {
    if (path == "etc") std::filesystem::remove(base_ / "from/etc/f");
  };
  EXPECT_THAT(copy_while({}, remove), HasSubstr("changed while it was read"));
}

TEST_F(ChangingFolderTest, AFileThatGrowsOrShrinksIsRefused) {
  for (const char* now : {"longer than before", "short"}) {
    std::filesystem::remove_all(base_ / "to");
    write("from/etc/f", "content");
    const auto rewrite = [this, now](const std::string& path) {
      if (path == "etc/f") write("from/etc/f", now);
    };
    EXPECT_THAT(copy_while(rewrite, {}), HasSubstr("changed while it was read"));
  }
}

}  // namespace
}  // namespace weir::image
