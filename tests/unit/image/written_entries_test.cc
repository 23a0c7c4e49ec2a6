// What a hostile tree becomes as a layer.
#include "image/snapshot/written_entries.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "image/snapshot/layer_writer.h"

namespace weir::image {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class WrittenEntriesTest : public testing::Test {
 protected:
  WrittenEntriesTest() {
    std::string pattern = testing::TempDir() + "weir-written-XXXXXX";
    base_ = ::mkdtemp(pattern.data());
    for (const char* name : {"from", "outside"}) fs::create_directory(base_ / name);
    write("outside/secret", "secret");
    tree_.one_owner = OwnerIds{.uid = 1000, .gid = 1000};
  }
  ~WrittenEntriesTest() override { fs::remove_all(base_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((base_ / name).parent_path());
    std::ofstream(base_ / name) << text;
  }
  fs::path at(const std::string& name) const { return base_ / "from" / name; }

  static sys::OwnedFd open(const fs::path& path) {
    return sys::OwnedFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }

  void take_baseline() {
    const sys::OwnedFd from = open(base_ / "from");
    auto baseline = Baseline::of(from.get());
    ASSERT_TRUE(baseline) << baseline.error().what();
    tree_.baseline = std::move(*baseline);
    // A change in the same tick of the file system's clock would look like none.
    const auto before = status("").st_ctim;
    do {
      ::utimensat(AT_FDCWD, at("").c_str(), nullptr, 0);
    } while (status("").st_ctim.tv_sec == before.tv_sec && status("").st_ctim.tv_nsec == before.tv_nsec);
  }

  struct stat status(const std::string& name) const {
    struct stat found{};
    ::lstat(at(name).c_str(), &found);
    return found;
  }

  // The manifest without its head, or the error.
  std::string layer(Limits limits = kLayerLimits) {
    fs::remove_all(base_ / "to");
    fs::create_directory(base_ / "to");
    const sys::OwnedFd from = open(base_ / "from");
    tree_.folder = from.get();
    const sys::OwnedFd manifest(::memfd_create("manifest", MFD_CLOEXEC));
    auto tally = write_layer(tree_, open(base_ / "to"), Owners::one, manifest.get(), limits);
    if (!tally) return "error: " + tally.error().what();
    tally_ = *tally;
    std::string text(static_cast<std::size_t>(::lseek(manifest.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(manifest.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    EXPECT_TRUE(wire::parse_layer_manifest(text)) << text;
    return text.substr(wire::kLayerManifestHead.size());
  }

  std::string text_of(const std::string& name) const {
    std::ifstream file(base_ / "to" / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path base_;
  WrittenTree tree_;
  LayerTally tally_;
};

TEST_F(WrittenEntriesTest, FilesFoldersLinks) {
  write("from/home/f", "x");
  fs::create_hard_link(at("home/f"), at("home/g"));
  fs::create_symlink("../../../etc/shadow", at("home/l"));
  ::chmod(at("home").c_str(), 0700);
  ::chmod(at("home/f").c_str(), 0640);
  struct timespec times[2] = {{.tv_sec = 5, .tv_nsec = 0}, {.tv_sec = 5, .tv_nsec = 0}};
  ::utimensat(AT_FDCWD, at("home/f").c_str(), times, 0);
  EXPECT_EQ(layer(),
            "d 700 1000 1000 home\n"
            "f 640 1000 1000 5 1 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 home/f\n"
            "h home/g home/f\n"
            "l 1000 1000 home/l ../../../etc/shadow\n");
  EXPECT_EQ(text_of("home/g"), "x");
}

TEST_F(WrittenEntriesTest, SameFilesAreTheSameLayer) {
  write("from/b/f", "x");
  write("from/a", "y");
  struct timespec times[2] = {};
  for (const char* name : {"a", "b/f"}) ::utimensat(AT_FDCWD, at(name).c_str(), times, 0);
  const std::string first = layer();
  // Made again, in another order.
  fs::rename(base_ / "from", base_ / "old");
  fs::create_directory(base_ / "from");
  write("from/a", "y");
  write("from/b/f", "x");
  for (const char* name : {"a", "b/f"}) ::utimensat(AT_FDCWD, at(name).c_str(), times, 0);
  EXPECT_EQ(layer(), first);
  write("from/a", "z");
  EXPECT_NE(layer(), first);
}

TEST_F(WrittenEntriesTest, WhatBelongsToTheSandboxStaysOut) {
  for (const char* name : {"dev/shm/secret", "proc/x", "run/token", "sys/x", ".weir-layers/0/upper/f", "data/shared/f"})
    write(std::string("from/") + name, "secret");
  write("from/data/sharedless", "");
  tree_.shared = {"/data/shared"};
  EXPECT_THAT(layer(), Not(HasSubstr("secret")));
  EXPECT_EQ(tally_.entries, 2u);  // data, data/sharedless
}

TEST_F(WrittenEntriesTest, LinksLeadNowhere) {
  fs::create_directory_symlink(base_ / "outside", at("home"));
  fs::create_symlink(base_ / "outside/secret", at("etc"));
  EXPECT_THAT(layer(), Not(HasSubstr("home/secret")));
  EXPECT_TRUE(fs::is_symlink(base_ / "to/home"));
  EXPECT_TRUE(fs::is_symlink(base_ / "to/etc"));
}

TEST_F(WrittenEntriesTest, WhatALayerCannotHold) {
  write("from/f", "x");
  write("from/.wh.f", "x");
  ::mkfifo(at("fifo").c_str(), 0600);
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  at("socket").string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(server);
  ASSERT_EQ(::mknod(at("mark").c_str(), S_IFCHR, 0), 0);
  ::chmod(at("f").c_str(), 06755);
  EXPECT_THAT(layer(), testing::StartsWith("f 755 "));
  EXPECT_EQ(tally_.entries, 1u);
  EXPECT_EQ(tally_.left_out.sockets, 3u);
  EXPECT_EQ(tally_.left_out.names, 1u);
  EXPECT_EQ(tally_.left_out.set_id_bits, 1u);
}

TEST_F(WrittenEntriesTest, MarksOfAnOverlay) {
  fs::create_directories(at("new/sub"));
  ASSERT_EQ(::setxattr(at("new").c_str(), "user.overlay.opaque", "y", 1, 0), 0);
  ASSERT_EQ(::setxattr(at("new/sub").c_str(), "user.overlay.redirect", "/etc", 4, 0), 0);
  ASSERT_EQ(::mknod(at("new/gone").c_str(), S_IFCHR, 0), 0);
  tree_.kind = WrittenTree::Kind::upper;
  EXPECT_EQ(layer(), "o 755 1000 1000 new\nw new/gone\nd 755 1000 1000 new/sub\n");
  struct stat gone{};
  EXPECT_EQ(::lstat((base_ / "to/new/gone").c_str(), &gone), 0);
  EXPECT_TRUE(S_ISCHR(gone.st_mode) && gone.st_rdev == 0);
  char mark = 0;
  EXPECT_EQ(::getxattr((base_ / "to/new").c_str(), "user.overlay.opaque", &mark, 1), 1);
  EXPECT_LT(::getxattr((base_ / "to/new/sub").c_str(), "user.overlay.redirect", nullptr, 0), 0);
  // In a root that is no overlay the guest itself may have made both, and they mean nothing.
  tree_.kind = WrittenTree::Kind::root;
  EXPECT_EQ(layer(), "d 755 1000 1000 new\nd 755 1000 1000 new/sub\n");
}

TEST_F(WrittenEntriesTest, WhatWeirHadMadeStaysOut) {
  write("from/etc/hosts", "weir's");
  write("from/etc/passwd", "weir's");
  fs::create_directories(at("home/sandbox"));
  fs::create_symlink("usr/bin", at("bin"));
  take_baseline();
  EXPECT_EQ(layer(), "");
  EXPECT_EQ(tally_.entries, 0u);
  write("from/etc/passwd", "changed");
  fs::create_directories(at("home/sandbox/.cache"));
  fs::create_directories(at("opt"));
  const std::string now = layer();
  EXPECT_THAT(now, HasSubstr("d 755 1000 1000 etc\nf 644 "));
  EXPECT_THAT(now, HasSubstr(" etc/passwd\n"));
  EXPECT_THAT(now,
              HasSubstr("d 755 1000 1000 home\nd 755 1000 1000 home/sandbox\nd 755 1000 1000 home/sandbox/.cache\n"));
  EXPECT_THAT(now, HasSubstr("d 755 1000 1000 opt\n"));
  EXPECT_THAT(now, Not(HasSubstr("hosts")));
  EXPECT_THAT(now, Not(HasSubstr("bin")));
}

TEST_F(WrittenEntriesTest, SparseFilesStaySparse) {
  write("from/f", "");
  ASSERT_EQ(::truncate(at("f").c_str(), 8 << 20), 0);
  layer();
  struct stat made{};
  ASSERT_EQ(::stat((base_ / "to/f").c_str(), &made), 0);
  EXPECT_EQ(made.st_size, 8 << 20);
  EXPECT_LT(made.st_blocks, 64);
}

TEST_F(WrittenEntriesTest, Bounds) {
  for (int i = 0; i < 10; ++i) write("from/" + std::to_string(i), "x");
  EXPECT_THAT(layer({.entries = 9, .bytes = 100}), HasSubstr("more than 9 files"));
  EXPECT_THAT(layer({.entries = 100, .bytes = 9}), HasSubstr("error"));
  EXPECT_THAT(layer({.entries = 10, .bytes = 10}), Not(HasSubstr("error")));
  // Deeper than any path of an archive: left out, and said.
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  fs::create_directories(at(deep));
  EXPECT_THAT(layer(), Not(HasSubstr("error")));
  EXPECT_EQ(tally_.left_out.names, 1u);
}

}  // namespace
}  // namespace weir::image
