// Which host files may be shared, and what the sandbox can do with them.
#include "sandbox/shares/shares.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "sandbox/root/machine_mounts.h"
#include "sandbox/root/tools.h"
#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class Listening {
 public:
  explicit Listening(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd_.get(), 4) != 0 || ::chmod(path.c_str(), 0777) != 0)
      std::abort();
  }

 private:
  sys::OwnedFd fd_;
};

std::string refusal(const Result<Share>& share) {
  return share ? "accepted" : share.error().what();
}

// --- the options

class ShareOptions : public ::testing::Test {
 protected:
  TestFolder files_{As::root};
  Sharer sharer_ = {.folder = files_.path(), .home = "/nonexistent-home", .runtime_folder = {}};
};

TEST_F(ShareOptions, Forms) {
  files_.make("data");
  const auto plain = parse_share("data:/data", sharer_);
  ASSERT_TRUE(plain) << plain.error().what();
  EXPECT_EQ(plain->source, files_.path() + "/data");
  EXPECT_EQ(plain->target, "/data");
  EXPECT_EQ(plain->access, Share::Access::read_write);
  EXPECT_EQ(parse_share("./data:/a/b/:ro", sharer_)->target, "/a/b");
  EXPECT_EQ(parse_share("./data:/a//./b:ro", sharer_)->target, "/a/b");
  EXPECT_EQ(parse_share("data:/d:ro", sharer_)->access, Share::Access::read_only);
  EXPECT_EQ(parse_share("data:/d:copy", sharer_)->access, Share::Access::copy);
  EXPECT_EQ(parse_share(files_.path() + "/data:/d:overlay", sharer_)->access, Share::Access::overlay);
  ASSERT_EQ(::symlink("data", (files_.path() + "/link").c_str()), 0);
  EXPECT_EQ(parse_share("link:/d", sharer_)->source, files_.path() + "/data");
}

TEST_F(ShareOptions, Mistakes) {
  files_.make("data");
  const std::pair<const char*, const char*> mistakes[] = {
      {"data", "names no place inside"},
      {"", "names no place inside"},
      {":/data", "empty"},
      {"data:", "not absolute"},
      {"data:relative", "not absolute"},
      {"data:/", "nothing can be shared as /"},
      {"data:/a/../../b", "'..'"},
      {"data:/d:rx", "no way to share"},
      {"data:/d:RO", "no way to share"},
      {"data:/d:", "no way to share"},
      {"data:/d:ro:ro", "more than three parts"},
      {"missing:/d", "No such file"},
      {"data:/proc", "the sandbox's own"},
      {"data:/proc/self", "the sandbox's own"},
      {"data:/dev/shm", "the sandbox's own"},
      {"/proc:/p:ro", "the machine's"},
      {"/sys/kernel:/p:ro", "the machine's"},
      {"/dev:/p:copy", "the machine's"},
  };
  for (const auto& [text, why] : mistakes) EXPECT_THAT(refusal(parse_share(text, sharer_)), HasSubstr(why)) << text;
}

TEST_F(ShareOptions, FoldersThatCarrySocketsAreRefused) {
  sharer_.home = files_.make("home/me");
  sharer_.runtime_folder = files_.make("runtime");
  for (const char* text : {"/:/h", "/run:/h", "/tmp:/h:ro", "home/me:/h", "home:/h:ro", "runtime:/h", ".:/h"}) {
    const auto share = parse_share(text, sharer_);
    EXPECT_FALSE(share) << text;
    if (!share) EXPECT_THAT(share.error().remedy(), HasSubstr("--share-sockets")) << text;
  }
  files_.make("home/me/project");
  EXPECT_TRUE(parse_share("home/me/project:/p", sharer_));
  EXPECT_TRUE(parse_share("home/me:/h:copy", sharer_));
  EXPECT_TRUE(parse_share("home/me:/h:overlay", sharer_));
  sharer_.sockets = Sharer::Sockets::shared;
  EXPECT_TRUE(parse_share("home/me:/h", sharer_));
}

TEST_F(ShareOptions, SocketsAreFoundTwoLevelsDown) {
  files_.make("a/b/c/d");
  const Listening listening(files_.path() + "/a/b/c/socket");
  EXPECT_THAT(refusal(parse_share("a:/a", sharer_)), HasSubstr("/a/b/c/socket"));
  EXPECT_THAT(refusal(parse_share("a/b/c:/a:ro", sharer_)), HasSubstr("/a/b/c/socket"));
  EXPECT_THAT(refusal(parse_share("a/b/c/socket:/s", sharer_)), HasSubstr("is a socket"));
  EXPECT_TRUE(parse_share("a:/a:copy", sharer_));
  EXPECT_TRUE(parse_share("a/b/c/d:/a", sharer_));
}

TEST_F(ShareOptions, Here) {
  files_.write(".bashrc", "");
  const auto plain = share_here("", sharer_);
  ASSERT_TRUE(plain) << plain.error().what();
  EXPECT_EQ(plain->source, files_.path());
  EXPECT_EQ(plain->target, files_.path());
  for (const char* path : {".git/hooks", ".git/config", ".envrc", ".vscode", ".idea", ".bashrc", ".git/commondir",
                           ".git/config.worktree", "HEAD"})
    EXPECT_THAT(plain->read_only_below, Contains(path));
  EXPECT_THAT(plain->read_only_below, ::testing::Not(Contains(".zshrc")));
  files_.write("HEAD", "");
  files_.make("objects");
  files_.make("refs");
  for (const char* path : {"hooks", "config", "commondir"})
    EXPECT_THAT(share_here("", sharer_)->read_only_below, Contains(path));
  files_.make(".git/modules");
  EXPECT_THAT(share_here("", sharer_)->read_only_below, Contains(".git/modules"));
  EXPECT_THAT(share_here("", sharer_)->read_only_below, ::testing::Not(Contains("HEAD")));
  EXPECT_TRUE(share_here("rw-all", sharer_)->read_only_below.empty());
  EXPECT_EQ(share_here("ro", sharer_)->access, Share::Access::read_only);
  EXPECT_EQ(share_here("overlay", sharer_)->access, Share::Access::overlay);
  EXPECT_THAT(refusal(share_here("rw", sharer_)), HasSubstr("no form"));
  sharer_.home = files_.path();
  EXPECT_THAT(refusal(share_here("", sharer_)), HasSubstr("home folder"));
  EXPECT_THAT(refusal(share_here("overlay", sharer_)), HasSubstr("home folder"));
  sharer_.folder = "/";
  EXPECT_FALSE(share_here("ro", sharer_));
}

TEST_F(ShareOptions, AMissingSourceComesWithARemedy) {
  const auto share = parse_share("missing:/d", sharer_);
  ASSERT_FALSE(share);
  EXPECT_THAT(share.error().remedy(), HasSubstr("make it first"));
}

TEST_F(ShareOptions, ToolsAreHeldToTheSame) {
  const auto refusal_of = [&](const std::string& path) -> std::string {
    const auto tools = resolve_tools({path});
    if (!tools) return tools.error().what();
    const auto checked = check_tools(*tools, sharer_);
    return checked ? "accepted" : checked.error().what();
  };
  files_.make("tool/bin");
  EXPECT_EQ(refusal_of(files_.path() + "/tool"), "accepted");
  EXPECT_EQ(refusal_of("/usr/bin"), "accepted");
  EXPECT_THAT(refusal_of("/proc"), HasSubstr("the machine's"));
  EXPECT_THAT(refusal_of("/tmp"), HasSubstr("/tmp"));
  const Listening listening(files_.path() + "/tool/socket");
  EXPECT_THAT(refusal_of(files_.path() + "/tool"), HasSubstr("/tool/socket"));
  sharer_.sockets = Sharer::Sockets::shared;
  EXPECT_EQ(refusal_of(files_.path() + "/tool"), "accepted");
}

TEST(MachineMounts, AreFoundOnAndBelowASource) {
  const std::string mounts =
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
      "23 22 0:5 / /srv/jail/proc rw - proc proc rw\n"
      "24 22 0:6 / /srv/a\\040b/sys rw shared:3 master:1 - sysfs sysfs rw\n"
      "25 22 0:7 / /srv/data rw - tmpfs tmpfs rw\n"
      "26 22 0:8 / /srv/over rw - proc proc rw\n"
      "27 26 0:9 / /srv/over rw - tmpfs tmpfs rw\n"
      "28 22 0:9 / /mnt rw - cgroup2 none rw\n";
  EXPECT_EQ(machine_mount_in(mounts, "/srv/jail"), "/srv/jail/proc");
  EXPECT_EQ(machine_mount_in(mounts, "/srv/jail/proc/1"), "/srv/jail/proc");
  EXPECT_EQ(machine_mount_in(mounts, "/srv/jai"), "");
  EXPECT_EQ(machine_mount_in(mounts, "/srv/a b"), "/srv/a b/sys");
  EXPECT_EQ(machine_mount_in(mounts, "/srv/data"), "");
  EXPECT_EQ(machine_mount_in(mounts, "/srv/over/x"), "");
  EXPECT_EQ(machine_mount_in(mounts, "/mnt/x"), "/mnt");
  EXPECT_NE(machine_mount_in(mounts, "/"), "");
}

TEST(ShareSet, OnePlaceForEach) {
  const Share one = {.source = "/a", .target = "/x", .access = {}, .read_only_below = {}};
  Share two = {.source = "/b", .target = "/x", .access = {}, .read_only_below = {}};
  EXPECT_FALSE(check_shares({one, two}));
  two.target = "/x/y";
  EXPECT_TRUE(check_shares({one, two}));
}

// --- inside

class ShareTest : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam())) GTEST_SKIP() << "needs root";
    files_.emplace(GetParam());
  }
  Outcome with(Share::Access access, const std::string& script, std::vector<std::string> protect = {}) {
    Spec spec = shell(script);
    spec.shares = {
        {.source = files_->path(), .target = "/data", .access = access, .read_only_below = std::move(protect)}};
    return run(spec, GetParam());
  }
  std::string host(const std::string& name) { return read_file(files_->path() + "/" + name); }
  bool on_host(const std::string& name) { return ::access((files_->path() + "/" + name).c_str(), F_OK) == 0; }

  std::optional<TestFolder> files_;
};

INSTANTIATE_TEST_SUITE_P(Users, ShareTest, ::testing::Values(As::root, As::ordinary),
                         [](const auto& info) { return info.param == As::root ? "Root" : "Ordinary"; });

TEST_P(ShareTest, ReadWriteReachesTheHostAndBelongsToTheCaller) {
  files_->write("in", "from-host");
  const Outcome outcome = with(Share::Access::read_write,
                               "cat /data/in; stat -c %U /data /data/in; echo changed > /data/in; mkdir /data/new");
  EXPECT_EQ(outcome.out, "from-hostsandbox\nsandbox\n") << outcome.failure << outcome.err;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(host("in"), "changed\n");
  struct stat made{};
  struct stat folder{};
  ASSERT_EQ(::stat((files_->path() + "/new").c_str(), &made), 0);
  ASSERT_EQ(::stat(files_->path().c_str(), &folder), 0);
  EXPECT_EQ(made.st_uid, folder.st_uid);
  EXPECT_EQ(made.st_gid, folder.st_gid);
}

TEST_P(ShareTest, RootInsideWritesAsTheCaller) {
  Spec spec = shell("echo x > /data/new && (chown 5:5 /data/new 2>/dev/null; true) && stat -c %u /data/new");
  spec.user = {.uid = 0, .gid = 0, .name = "root", .home = "/root"};
  spec.shares = {{.source = files_->path(), .target = "/data", .access = {}, .read_only_below = {}}};
  const Outcome outcome = run(spec, GetParam());
  EXPECT_EQ(outcome.out, "0\n") << outcome.failure << outcome.err;
  struct stat made{};
  struct stat folder{};
  ASSERT_EQ(::stat((files_->path() + "/new").c_str(), &made), 0);
  ASSERT_EQ(::stat(files_->path().c_str(), &folder), 0);
  EXPECT_EQ(made.st_uid, folder.st_uid);
}

TEST_P(ShareTest, ReadOnlyIs) {
  files_->write("in", "from-host");
  const Outcome outcome = with(Share::Access::read_only, "cat /data/in; echo x > /data/in || touch /data/new");
  EXPECT_EQ(outcome.out, "from-host");
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_EQ(host("in"), "from-host");
}

TEST_P(ShareTest, CopyKeepsChangesInside) {
  files_->write("in", "from-host");
  files_->write("folder/deep/file", "deep");
  ASSERT_EQ(::symlink("in", (files_->path() + "/link").c_str()), 0);
  ASSERT_EQ(::chmod((files_->path() + "/in").c_str(), 04751), 0);
  const Listening socket(files_->path() + "/socket");
  const Outcome outcome = with(Share::Access::copy,
                               "cat /data/folder/deep/file; readlink /data/link; stat -c %a:%U /data/in; "
                               "echo changed > /data/in; cat /data/link; ls -A /data; rm -r /data/folder");
  EXPECT_EQ(outcome.out, "deepin\n751:sandbox\nchanged\nfolder\nin\nlink\n") << outcome.failure << outcome.err;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(host("in"), "from-host");
}

TEST_P(ShareTest, OverlayKeepsChangesInside) {
  files_->write("in", "from-host");
  files_->write("gone", "");
  const Listening socket(files_->path() + "/socket");
  const Outcome outcome =
      with(Share::Access::overlay,
           "cat /data/in; stat -c %U /data /data/in; echo changed > /data/in; echo x > /data/new; rm /data/gone; cat "
           "/data/in; "
           "ls -A /data | tr '\\n' ' '; ls -A / | grep weir; "
           "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/data/socket\")' 2>&1 | tail -1");
  EXPECT_THAT(outcome.out, HasSubstr("from-hostsandbox\nsandbox\nchanged\nin new socket "))
      << outcome.failure << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("ConnectionRefusedError"));
  EXPECT_EQ(host("in"), "from-host");
  EXPECT_TRUE(on_host("gone"));
  EXPECT_FALSE(on_host("new"));
}

TEST_P(ShareTest, AnOverlayOfWhatAnotherOwns) {
  Spec spec = shell("cd /d && ls >/dev/null && touch new && stat -c %U new");
  spec.shares = {{.source = "/usr/share/doc", .target = "/d", .access = Share::Access::overlay, .read_only_below = {}}};
  const Outcome outcome = run(spec, GetParam());
  EXPECT_EQ(outcome.out, "sandbox\n") << outcome.failure << outcome.err;
}

TEST_P(ShareTest, TheKernelsFileSystemsAreNotCarriedIn) {
  Spec spec = shell("true");
  spec.shares = {{.source = "/dev", .target = "/d", .access = Share::Access::read_only, .read_only_below = {}}};
  const Outcome outcome = run(spec, GetParam());
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.failure, HasSubstr("the kernel's own file systems"));
}

TEST_P(ShareTest, FilesCanBeShared) {
  const std::string file = files_->write("one", "1");
  Spec spec = shell("cat /etc/one; echo 2 > /etc/one; cat /x/two");
  spec.shares = {{.source = file, .target = "/etc/one", .access = {}, .read_only_below = {}},
                 {.source = file, .target = "/x/two", .access = Share::Access::copy, .read_only_below = {}}};
  const Outcome outcome = run(spec, GetParam());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.failure << outcome.err;
  EXPECT_EQ(host("one"), "2\n");
}

TEST_P(ShareTest, ASwappedSourceIsNotFollowed) {
  files_->make("real");
  ASSERT_EQ(::symlink("/etc", (files_->path() + "/swapped").c_str()), 0);
  Spec spec = shell("true");
  spec.shares = {{.source = files_->path() + "/swapped", .target = "/data", .access = {}, .read_only_below = {}}};
  EXPECT_EQ(run(spec, GetParam()).exit_code, 125);
  spec.shares[0].source = files_->path() + "/real";
  EXPECT_EQ(run(spec, GetParam()).exit_code, 0);
}

TEST_P(ShareTest, PlacesInsideAShareMustExist) {
  files_->make("there");
  const std::string other = files_->make("other");
  Spec spec = shell("true");
  spec.shares = {{.source = files_->path(), .target = "/data", .access = {}, .read_only_below = {}},
                 {.source = other, .target = "/data/there", .access = {}, .read_only_below = {}}};
  EXPECT_EQ(run(spec, GetParam()).exit_code, 0) << run(spec, GetParam()).failure;
  spec.shares[1].target = "/data/missing";
  const Outcome outcome = run(spec, GetParam());
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.failure, HasSubstr("/data/missing"));
  EXPECT_FALSE(on_host("missing"));
}

// --- protected paths

const std::vector<std::string> kProtect = {".git/hooks", ".git/config", ".envrc", ".vscode"};

TEST_P(ShareTest, ProtectedPathsThatExist) {
  files_->make(".git/hooks");
  files_->write(".git/config", "host");
  files_->write(".envrc", "host");
  files_->make(".vscode");
  const Outcome outcome =
      with(Share::Access::read_write,
           "cd /data; touch .git/index free || exit 1\n"
           "for attempt in 'touch .git/hooks/pre-commit' 'echo x > .git/config' 'rm .git/config' 'mv .git/config x' "
           "'mv x .git/config' 'mv .git other' 'rmdir .git/hooks' 'mv .git/hooks h' 'echo x > .envrc' 'rm .envrc' "
           "'mv .envrc e' 'ln -sf free .envrc' 'touch .vscode/tasks.json' 'rm -rf .vscode' 'chmod 777 .vscode' "
           "'cp free .git/config'; do sh -c \"$attempt\" 2>/dev/null && echo done: $attempt; done; true",
           kProtect);
  EXPECT_EQ(outcome.out, "") << outcome.err;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.failure << outcome.err;
  EXPECT_EQ(host(".git/config"), "host");
  EXPECT_EQ(host(".envrc"), "host");
  EXPECT_TRUE(on_host(".git/index"));
  EXPECT_FALSE(on_host(".git/hooks/pre-commit"));
}

TEST_P(ShareTest, ProtectedPathsThatDoNotExist) {
  const Outcome outcome =
      with(Share::Access::read_write,
           "cd /data; touch free || exit 1\n"
           "for attempt in 'mkdir -p .git/hooks' 'touch .git/config' 'rmdir .git' 'mv .git g' 'chmod 777 .git' "
           "'echo x > .envrc' 'rmdir .envrc' 'mv free .envrc' 'touch .vscode/x'; do "
           "sh -c \"$attempt\" 2>/dev/null && echo done: $attempt; done; true",
           kProtect);
  EXPECT_EQ(outcome.out, "") << outcome.err;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.failure << outcome.err;
  // Nothing stays.
  EXPECT_FALSE(on_host(".git"));
  EXPECT_FALSE(on_host(".envrc"));
  EXPECT_FALSE(on_host(".vscode"));
  EXPECT_TRUE(on_host("free"));
}

// Git works on with what stands in for them, and no other settings can be named.
TEST_P(ShareTest, GitFilesThatDoNotExist) {
  files_->make(".git/hooks");
  const Outcome outcome = with(Share::Access::read_write,
                               "cd /data; touch .git/index || exit 1; cat .git/commondir .git/config.worktree\n"
                               "for attempt in 'echo /tmp > .git/commondir' 'rm .git/commondir' 'mv .git/commondir x' "
                               "'mv .git/index .git/commondir' 'chmod 777 .git/commondir' 'mv .git g' "
                               "'echo x > .git/config.worktree'; do sh -c \"$attempt\" 2>/dev/null && echo done: "
                               "$attempt; done; true",
                               {".git/hooks", ".git/commondir", ".git/config.worktree"});
  EXPECT_EQ(outcome.out, ".\n#\n") << outcome.err;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.failure << outcome.err;
  EXPECT_FALSE(on_host(".git/commondir"));
  EXPECT_FALSE(on_host(".git/config.worktree"));
  EXPECT_TRUE(on_host(".git/index"));
}

TEST_P(ShareTest, WithoutProtectionTheSameWorks) {
  EXPECT_EQ(with(Share::Access::read_write, "cd /data; mkdir -p .git/hooks; touch .git/hooks/x .envrc").exit_code, 0);
  EXPECT_TRUE(on_host(".git/hooks/x"));
}

TEST_P(ShareTest, WhatAKilledSupervisorLeftIsSweptByTheNext) {
  ASSERT_EQ(::mkdir(files_->make("x").c_str(), 0755), -1);
  const std::string left = files_->make(".envrc");
  ASSERT_EQ(::chmod(left.c_str(), 0555), 0);
  EXPECT_EQ(with(Share::Access::read_write, "! touch /data/.envrc/x", kProtect).exit_code, 0);
  EXPECT_FALSE(on_host(".envrc"));
}

TEST_P(ShareTest, LinksInProtectedPathsAreRefused) {
  ASSERT_EQ(::symlink("elsewhere", (files_->path() + "/.git").c_str()), 0);
  const Outcome outcome = with(Share::Access::read_write, "true", kProtect);
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.failure, HasSubstr("is a link"));
}

TEST(Placeholders, FilesHaveTheirContent) {
  const TestFolder files(As::root);
  files.make(".git");
  const std::string place = files.path() + "/.git/commondir";
  const sys::OwnedFd folder(::open(files.path().c_str(), O_PATH | O_DIRECTORY));
  // What somebody left unfinished is made again.
  files.write(".git/commondir", "");
  ASSERT_EQ(::chmod(place.c_str(), 0444), 0);
  const mode_t umask = ::umask(077);
  Placeholders one;
  Placeholders two;
  EXPECT_EQ(*one.make(folder, ".git/commondir"), ".git/commondir");
  EXPECT_EQ(*two.make(folder, ".git/commondir"), ".git/commondir");
  ::umask(umask);
  EXPECT_EQ(read_file(place), ".\n");
  struct stat status{};
  ASSERT_EQ(::stat(place.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444u);
  one.remove();
  EXPECT_EQ(::access(place.c_str(), F_OK), 0);
  two.remove();
  EXPECT_NE(::access(place.c_str(), F_OK), 0);
}

TEST(Placeholders, LeaveAFileOfSomebodyElse) {
  const TestFolder files(As::root);
  files.write(".git/commondir", "../elsewhere\n");
  const sys::OwnedFd folder(::open(files.path().c_str(), O_PATH | O_DIRECTORY));
  Placeholders one;
  EXPECT_EQ(*one.make(folder, ".git/commondir"), ".git/commondir");
  one.remove();
  EXPECT_EQ(read_file(files.path() + "/.git/commondir"), "../elsewhere\n");
}

TEST(Placeholders, AreSharedAndRemovedByTheLast) {
  const TestFolder files(As::root);
  const sys::OwnedFd folder(::open(files.path().c_str(), O_PATH | O_DIRECTORY));
  const std::string place = files.path() + "/.envrc";
  std::optional<Placeholders> one(std::in_place);
  Placeholders two;
  EXPECT_EQ(*one->make(folder, ".envrc"), ".envrc");
  EXPECT_EQ(*two.make(folder, ".envrc"), ".envrc");
  EXPECT_EQ(*two.make(folder, ".git/hooks"), ".git");
  one.reset();
  EXPECT_EQ(::access(place.c_str(), F_OK), 0);
  two.remove();
  EXPECT_NE(::access(place.c_str(), F_OK), 0);
  EXPECT_NE(::access((files.path() + "/.git").c_str(), F_OK), 0);
}

}  // namespace
}  // namespace weir::sandbox::testing
