// Layers that were made by hand, as hostile as a file system allows, over folders that change under them.
#include "changes/take_over.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "changes/keep.h"
#include "changes/store.h"

namespace weir::changes::testing {
namespace {

namespace fs = std::filesystem;
using State = Outlook::State;
using Mode = TakeOver::Mode;
using ::testing::HasSubstr;

constexpr const char* kId = "w-01234567";
constexpr timespec kLater{.tv_sec = 1LL << 40, .tv_nsec = 0};  // nothing was changed meanwhile

class TakingOver : public ::testing::Test {
 protected:
  TakingOver() {
    std::string path = fs::temp_directory_path() / "weir-changes-XXXXXX";
    base_ = ::mkdtemp(path.data());
    base_ = fs::canonical(base_);
    for (const char* name : {"layer", "share", "outside"}) fs::create_directory(base_ / name);
    write("outside/secret", "secret");
    umask_ = ::umask(022);
  }
  ~TakingOver() override {
    ::umask(umask_);
    fs::remove_all(base_);
  }

  void write(const std::string& path, const std::string& text, mode_t mode = 0644) {
    fs::create_directories((base_ / path).parent_path());
    std::ofstream(base_ / path) << text;
    ASSERT_EQ(::chmod((base_ / path).c_str(), mode), 0);
  }
  std::string read(const std::string& path) {
    std::ifstream file(base_ / path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool is_there(const std::string& path) { return fs::exists(fs::symlink_status(base_ / path)); }
  mode_t mode(const std::string& path) {
    struct stat status{};
    return ::lstat((base_ / path).c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
  }
  void link(const std::string& path, const std::string& target) {
    fs::create_directories((base_ / path).parent_path());
    fs::create_symlink(target, base_ / path);
  }
  // Needs no privilege since kernel 5.8.
  void whiteout(const std::string& path) {
    fs::create_directories((base_ / path).parent_path());
    ASSERT_EQ(::mknod((base_ / path).c_str(), S_IFCHR, ::makedev(0, 0)), 0);
  }
  void opaque(const std::string& path) {
    fs::create_directories(base_ / path);
    ASSERT_EQ(::setxattr((base_ / path).c_str(), "user.overlay.opaque", "y", 1, 0), 0);
  }

  void keep(const timespec& since = kLater) {
    auto keeper = Keeper::prepare(store(), {.sandbox = kId, .folder = "/x", .command = "sh", .started = "now"});
    ASSERT_TRUE(keeper) << keeper.error().what();
    const sys::OwnedFd layer(::open((base_ / "layer").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto added = keeper->add(layer, base_ / "share", since);
    ASSERT_TRUE(added) << added.error().what();
    ASSERT_TRUE(keeper->finish());
  }
  std::string store() { return base_ / "state/changes"; }

  // What came of each path.
  std::map<std::string, Outlook> take_over(Mode mode = Mode::apply, const std::vector<std::string>& insisted = {},
                                           const std::vector<std::string>& wanted = {}) {
    auto kept = open_kept(store(), kId);
    if (!kept) {
      ADD_FAILURE() << kept.error().what();
      return {};
    }
    std::set<Place> named;
    for (const std::string& path : insisted) named.insert({0, path});
    std::vector<Place> places;
    for (const std::string& path : wanted) places.emplace_back(0, path);
    std::map<std::string, Outlook> found;
    TakeOver work(kept->manifest, kept->contents, mode, named);
    for (Outlook& outlook : work.run(places))
      found.emplace(kept->manifest.entries[outlook.entry].change.path, std::move(outlook));
    return found;
  }
  static std::string why(const Outlook& outlook) {
    std::string text;
    for (const std::string& reason : outlook.reasons) text += reason + ";";
    return text;
  }
  std::vector<std::string> temporaries() {
    std::vector<std::string> names;
    for (const auto& each : fs::recursive_directory_iterator(base_ / "share")) {
      if (each.path().filename().string().starts_with(".weir-apply-")) names.push_back(each.path());
    }
    return names;
  }

  fs::path base_;
  mode_t umask_ = 0;
};

TEST_F(TakingOver, FilesFoldersLinksAndDeletions) {
  write("share/a", "old", 0640);
  write("share/gone", "x");
  write("share/tree/x/y", "x");
  write("share/old/keep", "x");
  write("layer/a", "new", 0777);
  write("layer/d/e/f", "deep", 0755);
  write("layer/old/fresh", "z");
  whiteout("layer/gone");
  whiteout("layer/tree");
  opaque("layer/old");
  link("layer/d/up", "../a");
  keep();
  const auto looked = take_over(Mode::look);
  for (const auto& [path, outlook] : looked) EXPECT_EQ(outlook.state, State::open) << path << why(outlook);
  EXPECT_EQ(read("share/a"), "old");
  EXPECT_EQ(looked.size(), 9u);
  for (const auto& [path, outlook] : take_over()) EXPECT_EQ(outlook.state, State::applied) << path << why(outlook);
  EXPECT_EQ(read("share/a"), "new");
  EXPECT_EQ(mode("share/a"), 0755u | 0640u);  // what was there, or what the umask leaves
  EXPECT_EQ(read("share/d/e/f"), "deep");
  EXPECT_EQ(mode("share/d/e/f"), 0755u);
  EXPECT_FALSE(is_there("share/gone"));
  EXPECT_FALSE(is_there("share/tree"));
  EXPECT_FALSE(is_there("share/old/keep"));
  EXPECT_EQ(read("share/old/fresh"), "z");
  EXPECT_EQ(fs::read_symlink(base_ / "share/d/up"), "../a");
  EXPECT_TRUE(temporaries().empty());
  for (const auto& [path, outlook] : take_over()) EXPECT_EQ(outlook.state, State::already) << path << why(outlook);
}

TEST_F(TakingOver, OnlyWhatWasAskedFor) {
  write("layer/d/e/f", "1");
  write("layer/d/g", "2");
  write("layer/h", "3");
  keep();
  const auto done = take_over(Mode::apply, {}, {"d/e/f"});
  EXPECT_EQ(done.size(), 3u);  // and the folders above it
  EXPECT_EQ(read("share/d/e/f"), "1");
  EXPECT_FALSE(is_there("share/d/g"));
  EXPECT_FALSE(is_there("share/h"));
}

TEST_F(TakingOver, AFolderThatBecameALinkLeadsNowhere) {
  write("share/d/x", "old");
  write("share/e/x", "old");
  write("layer/d/x", "new");
  write("layer/e/x", "new");
  write("layer/d/secret", "overwritten");
  keep();
  fs::rename(base_ / "share/d", base_ / "share/moved");
  link("share/d", "../outside");
  const auto done = take_over(Mode::apply, {"d/x", "d/secret"});
  EXPECT_EQ(done.at("d/x").state, State::refused);
  EXPECT_EQ(done.at("d/secret").state, State::refused);
  EXPECT_THAT(why(done.at("d/x")), HasSubstr("a link"));
  EXPECT_EQ(read("outside/secret"), "secret");
  EXPECT_FALSE(is_there("outside/x"));
  EXPECT_EQ(done.at("e/x").state, State::applied);
  EXPECT_EQ(read("share/e/x"), "new");
}

TEST_F(TakingOver, AFileThatBecameALinkIsReplacedAndNotWrittenThrough) {
  write("share/x", "old");
  write("layer/x", "new");
  keep();
  fs::remove(base_ / "share/x");
  link("share/x", "../outside/secret");
  EXPECT_EQ(take_over().at("x").state, State::refused);
  EXPECT_TRUE(take_over().at("x").conflict);
  EXPECT_EQ(take_over(Mode::apply, {"x"}).at("x").state, State::applied);
  EXPECT_EQ(read("outside/secret"), "secret");
  EXPECT_EQ(read("share/x"), "new");
  EXPECT_FALSE(fs::is_symlink(base_ / "share/x"));
}

TEST_F(TakingOver, ASharedFolderThatIsAnotherNow) {
  write("layer/x", "new");
  keep();
  fs::rename(base_ / "share", base_ / "was");
  fs::create_directory(base_ / "share");
  EXPECT_THAT(why(take_over().at("x")), HasSubstr("not the folder that was shared"));
  fs::remove(base_ / "share");
  link("share", "outside");
  EXPECT_EQ(take_over().at("x").state, State::refused);
  EXPECT_FALSE(is_there("outside/x"));
  fs::remove(base_ / "share");
  fs::rename(base_ / "was", base_ / "share");
  EXPECT_EQ(take_over().at("x").state, State::applied);
}

TEST_F(TakingOver, WhatIsNeverMade) {
  ASSERT_EQ(::mkfifo((base_ / "layer/pipe").c_str(), 0644), 0);
  if (::geteuid() == 0) ASSERT_EQ(::mknod((base_ / "layer/disk").c_str(), S_IFBLK | 0666, ::makedev(8, 0)), 0);
  write("layer/.weir-apply-w-01234567-1", "x");
  write("layer/suid", "x", 06755);
  write("layer/plain", "x", 0755);
  keep();
  const auto done = take_over(Mode::apply, {"pipe", "disk", ".weir-apply-w-01234567-1"});
  EXPECT_EQ(done.at("pipe").state, State::refused);
  EXPECT_FALSE(done.at("pipe").insistable);
  if (::geteuid() == 0) EXPECT_EQ(done.at("disk").state, State::refused);
  EXPECT_EQ(done.at(".weir-apply-w-01234567-1").state, State::refused);
  EXPECT_EQ(done.at("suid").state, State::applied);
  EXPECT_THAT(done.at("suid").note, HasSubstr("set-id"));
  EXPECT_EQ(mode("share/suid"), 0755u);
  EXPECT_EQ(mode("share/plain"), 0755u);
  EXPECT_EQ(done.at("plain").note, "");
}

TEST_F(TakingOver, LinksThatLeadOut) {
  fs::create_directory(base_ / "share/in");
  link("share/door", "../outside");  // the user's own
  link("layer/absolute", "/etc/passwd");
  link("layer/above", "../outside/secret");
  link("layer/through", "door/secret");
  link("layer/twisted", "in/../../outside");
  link("layer/fine", "in");
  link("layer/dangling", "nowhere");
  keep();
  const auto done = take_over();
  for (const char* path : {"absolute", "above", "through", "twisted"}) {
    EXPECT_EQ(done.at(path).state, State::refused) << path;
    EXPECT_TRUE(done.at(path).insistable) << path;
    EXPECT_FALSE(is_there(std::string("share/") + path));
  }
  EXPECT_EQ(done.at("fine").state, State::applied);
  EXPECT_EQ(done.at("dangling").state, State::applied);
  EXPECT_EQ(take_over(Mode::apply, {"above"}).at("above").state, State::applied);
  EXPECT_EQ(fs::read_symlink(base_ / "share/above"), "../outside/secret");
}

TEST_F(TakingOver, LinksThatLeadOutTogether) {
  fs::create_directory(base_ / "share/d");
  link("layer/a", "d/e/../x");  // out as soon as d/e leads to the top
  link("layer/d/e", "..");
  keep();
  const auto done = take_over();
  EXPECT_EQ(done.at("a").state, State::refused);
  EXPECT_EQ(done.at("d/e").state, State::applied);
}

TEST_F(TakingOver, WhatWouldRunOutside) {
  write("share/.git/config", "mine");
  write("share/.git/index", "mine");
  write("share/src/.envrc", "mine");
  write("layer/.envrc", "evil");
  write("layer/.git/hooks/pre-commit", "evil");
  write("layer/.git/index", "theirs");
  write("layer/sub/.vscode/tasks.json", "evil");
  whiteout("layer/src");
  write("layer/plain", "x");
  keep();
  const auto done = take_over();
  for (const char* path :
       {".envrc", ".git/hooks", ".git/hooks/pre-commit", "sub/.vscode", "sub/.vscode/tasks.json", "src"}) {
    EXPECT_EQ(done.at(path).state, State::refused) << path;
    EXPECT_EQ(is_there(std::string("share/") + path), std::string(path) == "src") << path;
  }
  EXPECT_THAT(why(done.at("src")), HasSubstr("src/.envrc"));
  EXPECT_EQ(done.at(".git/index").state, State::applied);
  EXPECT_EQ(done.at("plain").state, State::applied);
  const auto named = take_over(Mode::apply, {".envrc", ".git/hooks", "src"});
  EXPECT_EQ(named.at(".envrc").state, State::applied);
  EXPECT_EQ(named.at(".git/hooks").state, State::applied);
  EXPECT_EQ(named.at(".git/hooks/pre-commit").state, State::refused);  // each by itself
  EXPECT_EQ(named.at("src").state, State::applied);
}

TEST_F(TakingOver, TheRepositoryDoesNotGoUnasked) {
  write("share/.git/config", "mine");
  whiteout("layer/.git");
  write("share/sub/.git/config", "mine");
  write("layer/sub/.git", "gitdir: ../evil");
  keep();
  const auto done = take_over();
  EXPECT_EQ(done.at(".git").state, State::refused);
  EXPECT_EQ(done.at("sub/.git").state, State::refused);
  EXPECT_EQ(read("share/.git/config"), "mine");
  EXPECT_EQ(read("share/sub/.git/config"), "mine");
}

TEST_F(TakingOver, ChangedMeanwhile) {
  write("share/a", "old");
  write("layer/a", "new");
  keep({.tv_sec = 1, .tv_nsec = 0});
  EXPECT_THAT(why(take_over().at("a")), HasSubstr("while the run went on"));
  EXPECT_EQ(read("share/a"), "old");
  EXPECT_EQ(take_over(Mode::apply, {"a"}).at("a").state, State::applied);
}

TEST_F(TakingOver, ChangedSince) {
  for (const char* name : {"changed", "gone", "same", "tree/x", "tree2/x"}) write(std::string("share/") + name, "old");
  for (const char* name : {"changed", "gone", "same", "fresh"}) write(std::string("layer/") + name, "new");
  whiteout("layer/tree");
  whiteout("layer/tree2");
  keep();
  write("share/changed", "mine");
  fs::remove(base_ / "share/gone");
  write("share/fresh", "mine");
  write("share/tree/y", "mine");
  const auto done = take_over();
  for (const char* path : {"changed", "gone", "fresh", "tree"}) {
    EXPECT_EQ(done.at(path).state, State::refused) << path;
    EXPECT_TRUE(done.at(path).conflict) << path;
  }
  EXPECT_EQ(done.at("same").state, State::applied);
  EXPECT_EQ(done.at("tree2").state, State::applied);
  EXPECT_EQ(read("share/changed"), "mine");
  EXPECT_EQ(read("share/fresh"), "mine");
  EXPECT_FALSE(is_there("share/gone"));
  EXPECT_EQ(read("share/tree/y"), "mine");
}

// Times that were put back do not hide a change: the time of status cannot be set.
TEST_F(TakingOver, ChangedWithTimesPutBack) {
  write("share/a", "old");
  write("layer/a", "new");
  struct stat status{};
  ASSERT_EQ(::stat((base_ / "share/a").c_str(), &status), 0);
  keep();
  write("share/a", "OLD");
  const timespec times[] = {status.st_atim, status.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, (base_ / "share/a").c_str(), times, 0), 0);
  EXPECT_TRUE(take_over().at("a").conflict);
}

TEST_F(TakingOver, HardLinksAreFilesOfTheirOwn) {
  write("share/a", "old");
  fs::create_hard_link(base_ / "share/a", base_ / "outside/same");
  write("layer/a", "new");
  fs::create_hard_link(base_ / "layer/a", base_ / "layer/b");
  keep();
  for (const auto& [path, outlook] : take_over()) EXPECT_EQ(outlook.state, State::applied) << path << why(outlook);
  EXPECT_EQ(read("outside/same"), "old");
  EXPECT_EQ(read("share/b"), "new");
  EXPECT_EQ(fs::hard_link_count(base_ / "share/b"), 1u);
}

TEST_F(TakingOver, FilesAndFoldersInEachOthersPlace) {
  write("share/was-folder/x", "old");
  write("share/was-file", "old");
  write("layer/was-folder", "file now");
  write("layer/was-file/x", "folder now");
  keep();
  for (const auto& [path, outlook] : take_over()) EXPECT_EQ(outlook.state, State::applied) << path << why(outlook);
  EXPECT_EQ(read("share/was-folder"), "file now");
  EXPECT_EQ(read("share/was-file/x"), "folder now");
  for (const auto& [path, outlook] : take_over()) EXPECT_EQ(outlook.state, State::already) << path << why(outlook);
}

TEST_F(TakingOver, CleansUpAfterOneThatWasKilled) {
  write("layer/d/x", "new");
  fs::create_directory(base_ / "share/d");
  keep();
  write("share/d/.weir-apply-w-01234567-7", "half");
  write("share/d/.weir-apply-w-01234567-8/old/file", "set aside");
  write("share/d/.weir-apply-w-99999999-1", "of another run");
  EXPECT_EQ(temporaries().size(), 3u);
  EXPECT_EQ(take_over().at("d/x").state, State::applied);
  EXPECT_EQ(temporaries().size(), 1u);
}

TEST_F(TakingOver, SparseFilesStaySparse) {
  write("layer/sparse", "begin");
  ASSERT_EQ(::truncate((base_ / "layer/sparse").c_str(), 300 << 20), 0);
  write("layer/huge", "");
  ASSERT_EQ(::truncate((base_ / "layer/huge").c_str(), static_cast<off_t>(kMaxKeptBytes)), 0);
  keep();
  const auto done = take_over();
  // In the order of names: what is left does not hold both.
  EXPECT_EQ(done.at("huge").state, State::applied) << why(done.at("huge"));
  EXPECT_THAT(why(done.at("sparse")), HasSubstr("too large"));
  fs::remove(base_ / "layer/huge");
  ASSERT_TRUE(discard_kept(store(), kId));
  keep();
  EXPECT_EQ(take_over(Mode::apply, {}, {"sparse"}).at("sparse").state, State::applied);
  struct stat status{};
  ASSERT_EQ(::stat((base_ / "share/sparse").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 300 << 20);
  EXPECT_LT(status.st_blocks, 1000);
  EXPECT_EQ(read("share/sparse").substr(0, 6), std::string("begin\0", 6));
}

TEST_F(TakingOver, WhatOthersWroteIsNotBelieved) {
  write("layer/x", "new");
  keep();
  EXPECT_FALSE(open_kept(store(), "w-76543210"));
  const std::string manifest = store() + "/" + kId + ".json";
  fs::rename(manifest, base_ / "moved");
  fs::create_symlink(base_ / "moved", manifest);
  EXPECT_FALSE(open_kept(store(), kId));
  fs::remove(manifest);
  fs::rename(base_ / "moved", manifest);
  EXPECT_TRUE(open_kept(store(), kId));
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(manifest.c_str(), 12345, 12345), 0);
    EXPECT_THAT(open_kept(store(), kId).error().what(), HasSubstr("not a file of yours"));
  }
}

TEST_F(TakingOver, TheStoreIsSwept) {
  write("layer/x", "new");
  keep();
  std::ofstream(store() + "/w-00000000.data") << "of a weir that was killed";
  sweep_store(store(), ::time(nullptr));
  EXPECT_FALSE(is_there("state/changes/w-00000000.data"));
  EXPECT_TRUE(open_kept(store(), kId));
  sweep_store(store(), ::time(nullptr) + kMaxKeptSeconds + 60);
  EXPECT_FALSE(is_there(std::string("state/changes/") + kId + ".json"));
  EXPECT_FALSE(is_there(std::string("state/changes/") + kId + ".data"));
}

}  // namespace
}  // namespace weir::changes::testing
