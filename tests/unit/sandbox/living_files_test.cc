// Files of a sandbox that lives on: what callers get of them, and what programs inside do against that.
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "living_runner.h"
#include "wire/tar_writer.h"

namespace weir::sandbox {
namespace {

using testing::As;
using ::testing::HasSubstr;
using testing::live;
using testing::Live;
using testing::living;
using Do = Inside::FileTask::Do;

class LivingFiles : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!testing::can_be(GetParam())) GTEST_SKIP() << "needs root";
  }
};

std::string failure_of(Live& live, Do what, const std::string& path) {
  const Live::Done done = live.file({.what = what, .path = path});
  return done.failure + "\n";
}

TEST_P(LivingFiles, WhatIsPutIsThereForEverybody) {
  EXPECT_EQ(live(GetParam(),
                 [](Live& live) {
                   std::string said = live.put("/tmp/new/folder/file", "content\n", 0640);
                   said += live.shell("cat /tmp/new/folder/file; stat -c %a%u%s /tmp/new/folder/file; id -u").out;
                   live.shell("echo from inside > /tmp/new/other");
                   const auto got = live.file({.what = Do::get, .path = "/tmp/new/other"});
                   const auto looked = live.file({.what = Do::stat, .path = "/tmp/new/folder"});
                   said += got.content + std::to_string(got.answer.bytes) + " " + std::to_string(got.answer.mode);
                   said += std::string(" ") + control::name_of(looked.answer.type) + looked.failure + "\n";
                   said += live.put("/tmp/new/other", "replaced") + live.get("/tmp/new/other");
                   return said + live.shell("ls -A /tmp/new /tmp/new/folder").out;
                 }),
            "content\n640" + std::string("10008\n1000\n") +
                "from inside\n12 420 folder\nreplaced/tmp/new:\nfolder\nother\n\n/tmp/new/folder:\nfile\n");
}

TEST_P(LivingFiles, WhatIsNotThereOrNotForTheUser) {
  const std::string said = live(GetParam(), [](Live& live) {
    live.shell("mkdir -p /tmp/folder; touch /tmp/folder/file; mkfifo /tmp/fifo; ln -s loop /tmp/loop");
    std::string all;
    for (const char* path : {"/tmp/no", "/tmp/folder", "/tmp/folder/file/x", "/tmp/fifo", "/dev/zero", "/dev/tty",
                             "/tmp/loop", "relative", "/proc/self/environ", "/proc/cpuinfo", "/proc/self/exe",
                             "/proc/self/root/etc/passwd", "/proc/self/mem", "/proc/1/environ"})
      all += failure_of(live, Do::get, path);
    all += live.put("/usr/bin/new", "") + "\n" + live.put("/tmp/folder", "") + "\n" + live.put("/tmp/", "") + "\n";
    all += live.put("/tmp/" + std::string(300, 'n'), "") + "\n" + live.put("/" + std::string(5000, 'n'), "") + "\n";
    all += live.put("/proc/self/new", "") + "\n" + live.put(std::string("/tmp/\0x", 7), "") + "\n";
    all += failure_of(live, Do::remove, "/tmp/folder") + failure_of(live, Do::remove, "/usr/bin/env") +
           failure_of(live, Do::remove, "/");
    return all + failure_of(live, Do::list, "/tmp/folder/file");
  });
  EXPECT_EQ(said,
            "/tmp/no (inside): No such file or directory\n"
            "/tmp/folder (inside): Is a directory\n"
            "/tmp/folder/file/x (inside): Not a directory\n"
            "/tmp/fifo (inside): is not a regular file\n"
            "/dev/zero (inside): is not a regular file\n"
            "/dev/tty (inside): is not a regular file\n"
            "/tmp/loop (inside): Too many levels of symbolic links\n"
            "a path inside begins with a slash\n"
            "/proc/self/environ (inside): Permission denied\n"
            "/proc/cpuinfo (inside): is made up by the kernel; run a program that reads it\n"
            "/proc/self/exe (inside): Too many levels of symbolic links\n"
            "/proc/self/root/etc/passwd (inside): Too many levels of symbolic links\n"
            "/proc/self/mem (inside): Permission denied\n"
            "/proc/1/environ (inside): No such file or directory\n"
            "/usr/bin/new (inside): Read-only file system\n"
            "/tmp/folder (inside): Is a directory\n"
            "/tmp/ (inside): names no file\n"
            "/tmp/" +
                std::string(195, 'n') +
                "... (inside): File name too long\n"
                "the path is longer than 4095 bytes\n"
                "/proc/self/new (inside): No such file or directory\n"
                "an argument, variable or path holds a NUL byte\n"
                "/tmp/folder (inside): Directory not empty\n"
                "/usr/bin/env (inside): Read-only file system\n"
                "/ (inside): names no file\n"
                "/tmp/folder/file (inside): Not a directory\n");
}

// Links lead where they lead inside, and no further: what has the same name outside is never touched.
TEST_P(LivingFiles, LinksStayInside) {
  const testing::TestFolder outside(GetParam());
  const std::string secret = outside.write("secret", "of the host");
  const std::string folder = outside.path();
  const std::string said = live(GetParam(), [&](Live& live) {
    live.shell("ln -s " + secret + " /tmp/file; ln -s " + folder + " /tmp/folder; ln -s /usr /tmp/usr; " +
               "ln -s /proc/1/root /tmp/init; ln -s /proc/self/root /tmp/self; ln -s ../../../../../../.. /tmp/up");
    std::string all = live.get("/tmp/file") + "\n" + live.put("/tmp/usr/x", "") + "\n" + live.put("/tmp/init/x", "") +
                      "\n" + live.put("/tmp/self/tmp/x", "") + "\n" + live.get("/tmp/up" + secret) + "\n";
    all += live.get("/tmp/../../../.." + secret) + "\n";
    all += live.put("/tmp/folder/x", "") + "\n";
    // The link is replaced, what it names stays.
    all += live.put("/tmp/file", "own") + live.shell("test -L /tmp/file; echo $?").out;
    live.shell("mkdir -p /tmp/tree/sub; ln -s /tmp/kept /tmp/tree/sub/link; mkdir /tmp/kept; touch /tmp/kept/file");
    all += live.file({.what = Do::remove, .path = "/tmp/tree", .recursive = true}).failure;
    return all + live.shell("ls /tmp/tree 2>&1; ls /tmp/kept").out;
  });
  EXPECT_EQ(said,
            "/tmp/file (inside): No such file or directory\n"
            "/tmp/usr/x (inside): Read-only file system\n"
            "/tmp/init/x (inside): No such file or directory\n"
            "/tmp/self/tmp/x (inside): Too many levels of symbolic links\n"
            "/tmp/up" +
                secret + " (inside): No such file or directory\n/tmp/../../../.." + secret +
                " (inside): No such file or directory\n"
                "/tmp/folder/x (inside): No such file or directory\n"
                "1\nls: cannot access '/tmp/tree': No such file or directory\nfile\n");
  EXPECT_EQ(testing::read_file(secret), "of the host");
}

// The last commit wins, whole; what is given up leaves nothing; nobody waits for anybody.
TEST_P(LivingFiles, TwoWritersAndOneThatGivesUp) {
  const std::string said = live(GetParam(), [](Live& live) {
    Inside& inside = live.inside();
    std::vector<Inside::FileAnswer> open;
    int over = 0;
    std::string hows;
    std::vector<Inside::Id> ids;
    for (int i = 0; i < 3; ++i) {
      ids.push_back(inside.files(
          {.what = Do::put, .path = "/tmp/file"},
          [&](Result<Inside::FileAnswer> answer) { open.push_back(std::move(*answer)); },
          [&](Result<> how) {
            hows += how ? "put " : how.error().what() + " ";
            ++over;
          }));
      live.until([&] { return open.size() == ids.size(); });
    }
    for (std::size_t i = 0; i < 3; ++i) {
      const std::string text(100'000, "abc"[i]);
      if (::write(open[i].fd.get(), text.data(), text.size()) != 100'000) return std::string("cannot write");
    }
    const std::string before = live.shell("ls /tmp | wc -l").out;
    inside.commit(ids[1]);
    live.until([&] { return over == 1; });
    inside.commit(ids[0]);
    live.until([&] { return over == 2; });
    inside.abandon(ids[2]);
    live.until([&] { return over == 3; });
    live.until([&] { return live.shell("ls -A /tmp").out == "file\n"; });
    return hows + before + live.shell("tr -d a < /tmp/file | wc -c; wc -c < /tmp/file").out;
  });
  EXPECT_EQ(said, "put put the task on files was given up 0\n0\n100000\n");
}

TEST_P(LivingFiles, AListOfAHundredThousand) {
  const std::string said = live(GetParam(), [](Live& live) {
    live.run(
        {"python3", "-c",
         "import os\nos.mkdir('/tmp/many')\n"
         "for i in range(100000): os.mknod('/tmp/many/file%d' % i)\n"
         "os.symlink('/else\\n\"where', '/tmp/many/link'); os.mkdir('/tmp/many/sub'); os.mknod('/tmp/many/sub/x')"});
    const auto flat = live.file({.what = Do::list, .path = "/tmp/many"});
    const auto deep = live.file({.what = Do::list, .path = "/tmp/many", .recursive = true});
    const auto lines = [](const std::string& text) { return std::to_string(std::ranges::count(text, '\n')); };
    const std::size_t link = flat.content.find("{\"name\":\"link\"");
    return flat.failure + lines(flat.content) + " " + lines(deep.content) +
           (deep.content.find("\"sub/x\"") != std::string::npos ? " deep " : " flat ") +
           flat.content.substr(flat.content.find("\"target\"", link), 30);
  });
  EXPECT_EQ(said, "100002 100003 deep \"target\":\"/else\\u000a\\\"where\"}");
}

// A program that signals all but itself; the child hides from /proc, not from kill(). Prints how many there were.
std::string to_others(const std::string& signal, const std::string& how_often) {
  return "python3 -c 'import os\nfrom signal import *\n" + how_often +
         ":\n  found=0\n  for p in range(2,1000):\n    if p in (os.getpid(), os.getppid()): continue\n"
         "    try: os.kill(p, " +
         signal + "); found+=1\n    except OSError: pass\nprint(found)'";
}

// What a program inside does to the child is the end of that task, and of nothing else.
TEST_P(LivingFiles, AKilledChildIsAnError) {
  const std::string said = live(GetParam(), [](Live& live) {
    const auto killer = live.begin("exec " + to_others("SIGKILL", "while True"));
    std::string how;
    live.until([&] {
      how = live.put("/tmp/file", "content");
      return !how.empty();
    });
    live.inside().signal(killer, SIGKILL);
    live.wait(killer);
    return how + live.put("/tmp/file", "later") + live.get("/tmp/file");
  });
  // It may not even have answered, or have been killed between rename and its last word.
  EXPECT_EQ(said, "the task on files inside the sandbox was ended before it was donelater");
}

// A child that is stopped is given up without a wait.
TEST_P(LivingFiles, AStoppedChildCanBeGivenUp) {
  const std::string said = live(GetParam(), [](Live& live) {
    std::string how;
    Inside::Id id = 0;
    sys::OwnedFd file;
    id = live.inside().files(
        {.what = Do::put, .path = "/tmp/file"},
        [&](Result<Inside::FileAnswer> answer) { file = std::move(answer->fd); },
        [&](Result<> done) { how = done ? "put" : done.error().what(); });
    live.until([&] { return file.valid(); });
    const std::string stopped = live.shell(to_others("SIGSTOP", "if True")).out;
    live.inside().abandon(id);
    live.until([&] { return !how.empty(); });
    live.until([&] { return live.shell(to_others("0", "if True")).out == "0\n"; });
    return stopped + how;
  });
  EXPECT_EQ(said, "1\nthe task on files was given up");
}

// Whoever needs an empty sandbox asks: init may not have read yet what was asked for, also where it was given up.
TEST_P(LivingFiles, WhatMayBeginYetCountsAsAlive) {
  const std::string said = live(GetParam(), [](Live& live) {
    const auto alive = [&] { return live.sandbox().living(1)->any ? std::string("alive ") : std::string("empty "); };
    const auto empty = [&] { return alive() == "empty "; };
    live.until(empty);
    const auto null = [] { return sys::OwnedFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); };
    int status = -1;
    live.inside().start(
        {.argv = {"/bin/sh", "-c", "exit 7"}, .env = {}, .workdir = "/tmp"},
        {.in = null(), .out = null(), .err = null()}, [](const Result<Inside::Begun>&) {},
        [&](const Inside::Ended& ended) { status = ended.status; });
    std::string seen = alive();
    live.until([&] { return status >= 0; });
    live.until(empty);
    const Inside::Id given_up = live.inside().files(
        {.what = Do::list, .path = "/"}, [](const Result<Inside::FileAnswer>&) {}, [](const Result<>&) {});
    live.inside().abandon(given_up);
    seen += alive();
    live.until(empty);
    return seen + live.put("/tmp/file", "x") + live.get("/tmp/file");
  });
  EXPECT_EQ(said, "alive alive x");
}

// Neither memory nor descriptors of the child can be had, nor can it be traced.
TEST_P(LivingFiles, TheChildIsOutOfReach) {
  const std::string said = live(GetParam(), [](Live& live) {
    Inside::Id id = 0;
    sys::OwnedFd file;
    id = live.inside().files(
        {.what = Do::put, .path = "/tmp/file"},
        [&](Result<Inside::FileAnswer> answer) { file = std::move(answer->fd); }, [](Result<>) {});
    live.until([&] { return file.valid(); });
    const std::string tried = live.run({"python3", "-c",
                                        "import os,ctypes\nlibc=ctypes.CDLL(None,use_errno=True)\nfound=0\n"
                                        "for p in range(2,200):\n"
                                        "  if p in (os.getpid(),): continue\n"
                                        "  try: os.kill(p,0)\n"
                                        "  except OSError: continue\n"
                                        "  found+=1\n"
                                        "  for name in ('mem','maps','environ','fd','root'):\n"
                                        "    print(name, os.path.exists('/proc/%d/%s'%(p,name)))\n"
                                        "  print(libc.ptrace(16,p,0,0), ctypes.get_errno())\n"
                                        "print(found)"})
                                  .out;
    live.inside().abandon(id);
    return tried;
  });
  EXPECT_EQ(said, "mem False\nmaps False\nenviron False\nfd False\nroot False\n-1 1\n1\n");
}

TEST_P(LivingFiles, ManyAtOnceAndNoMore) {
  const std::string said = live(GetParam(), [](Live& live) {
    std::vector<sys::OwnedFd> open;
    std::string failure;
    std::vector<Inside::Id> ids;
    for (std::size_t i = 0; i <= Inside::kMaxFileTasks; ++i)
      ids.push_back(live.inside().files(
          {.what = Do::put, .path = "/tmp/file" + std::to_string(i)},
          [&](Result<Inside::FileAnswer> answer) {
            if (!answer) failure = answer.error().what();
            if (answer) open.push_back(std::move(answer->fd));
          },
          [](Result<>) {}));
    live.until([&] { return open.size() == Inside::kMaxFileTasks && !failure.empty(); });
    for (const Inside::Id id : ids) live.inside().abandon(id);
    live.until([&] { return live.shell("ls -A /tmp | wc -l").out == "0\n"; });
    return failure + live.put("/tmp/file", "room") + live.get("/tmp/file");
  });
  EXPECT_EQ(said, "the sandbox has 64 file tasks, which is the limitroom");
}

TEST_P(LivingFiles, AFullDiskIsAnErrorAndLeavesWhatWasThere) {
  Spec spec = living();
  spec.limits.disk_bytes = 1 << 20;
  const std::string said = live(spec, GetParam(), [](Live& live) {
    std::string all = live.put("/tmp/file", "old");
    live.shell("head -c 2M /dev/zero > /tmp/fill");
    all += live.put("/tmp/other", "") + live.get("/tmp/file");
    live.shell("rm /tmp/fill");
    return all + live.put("/tmp/file", "new") + live.get("/tmp/file");
  });
  EXPECT_THAT(said, ::testing::EndsWith("new"));
  EXPECT_THAT(said, HasSubstr("old"));
}

std::string member(const std::string& name, const std::string& content, wire::TarEntry::Type type,
                   const std::string& link = "") {
  wire::TarEntry entry;
  entry.type = type;
  entry.path = name;
  entry.link = link;
  entry.mode = 0755;
  entry.size = content.size();
  return wire::tar_headers(entry) + content + wire::tar_padding(content.size());
}

TEST_P(LivingFiles, AFolderGoesOutAndComesBack) {
  const std::string said = live(GetParam(), [](Live& live) {
    live.shell(
        "mkdir -p /tmp/from/sub/empty; cd /tmp/from; echo one > one; ln one two; ln -s ../../etc link; mkfifo fifo; "
        "head -c 300000 /dev/urandom > sub/big; chmod 640 one; touch -d @1000000000 one; chmod 500 sub/empty; "
        "printf x > \"$(printf 'a\\nb')\"; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'");
    const auto out = live.file({.what = Do::tar, .path = "/tmp/from"});
    if (!out.failure.empty()) return out.failure;
    // What GNU tar makes of it, and what weir makes of what GNU tar makes of that.
    std::string all = live.put("/tmp/archive", out.content);
    all += live.shell("mkdir /tmp/gnu && tar -C /tmp/gnu -xf /tmp/archive 2>&1 && cd /tmp/gnu && find | LC_ALL=C sort")
               .out;
    const auto packed = live.file({.what = Do::tar, .path = "/tmp/gnu/sub/empty"});
    all += std::to_string(packed.content.size());
    live.shell("cd /tmp/gnu && rm sub/big && tar -cf /tmp/archive .");
    const auto back = live.file({.what = Do::untar, .path = "/tmp/new/place"}, live.get("/tmp/archive"));
    return all + back.failure +
           live.shell(
                   "cd /tmp/new/place && find | LC_ALL=C sort && stat -c '%a %Y %h' one && cat two && readlink link && "
                   "stat -c %a sub/empty")
               .out;
  });
  EXPECT_EQ(said,
            ".\n./a\n./link\n./one\n./sub\n./sub/big\n./sub/empty\n./two\nb\n1024"
            ".\n./a\n./link\n./one\n./sub\n./sub/empty\n./two\nb\n640 1000000000 2\none\n../../etc\n500\n");
}

// Hostile archives: nothing outside of the folder is made, changed or linked to.
TEST_P(LivingFiles, AnArchiveStaysBelowItsFolder) {
  using enum wire::TarEntry::Type;
  const std::string said = live(GetParam(), [](Live& live) {
    std::string all;
    const auto untar = [&](const std::string& members) {
      const auto done = live.file({.what = Do::untar, .path = "/tmp/place"}, members + wire::tar_end());
      all += done.failure + "\n";
    };
    live.shell("mkdir -p /tmp/place /tmp/else; echo kept > /tmp/else/kept; ln -s /tmp/else /tmp/place/there");
    untar(member("there/new", "x", file));
    untar(member("link", "", symbolic_link, "/tmp/else") + member("link/new", "x", file));
    untar(member("hard", "", hard_link, "there/kept"));
    untar(member("pipe", "", fifo));
    untar("no archive");
    untar(member("there", "replaced", file));
    live.shell("mkdir -p /tmp/place/folder/full");
    untar(member("folder", "x", file));
    return all + live.shell("cat /tmp/place/there; ls /tmp/else; cat /tmp/else/kept").out;
  });
  EXPECT_EQ(said,
            "entry 'there/new': its folder is a link or a file in the sandbox\n"
            "entry 'link/new': its folder is a link or a file in the sandbox\n"
            "entry 'hard': a hard link to what is no file in this folder\n"
            "entry 'pipe': a device or a named pipe\n"
            "byte 0 of the archive: no tar header (wrong checksum)\n"
            "\n"
            "entry 'folder': there is a folder of that name\n"
            "replacedkept\nkept\n");
}

// Freezing: a busy world, one that forks all the time, one that plays stop and go itself.
TEST_P(LivingFiles, EverythingStandsStillAndGoesOn) {
  const std::string said = live(GetParam(), [](Live& live) {
    const std::string forks =
        "exec python3 -c 'import os\nwhile True:\n  if os.fork()==0:\n    open(\"/tmp/count\",\"a\").write(\"x\"); "
        "os._exit(0)\n  os.wait()'";
    const auto first = live.begin(forks);
    const auto second = live.begin(forks);
    const auto third = live.begin("python3 -c 'import ctypes,time; ctypes.CDLL(None).prctl(4,0)\nwhile True: pass'");
    live.until([&] { return live.file({.what = Do::stat, .path = "/tmp/count"}).answer.bytes > 10; });
    const auto file = live.file({.what = Do::get, .path = "/tmp/count"});
    std::string all = live.freeze();
    const auto size = [&] {
      struct stat status{};
      ::fstat(file.answer.fd.get(), &status);
      return status.st_size;
    };
    const auto before = size();
    all += live.get("/tmp/count") + "|" + live.shell("true").failure + "|" + live.freeze() + "|";
    const auto later = sys::monotonic_ms() + 50;
    live.until([&] { return sys::monotonic_ms() > later; });
    all += before == size() ? "still " : "moved ";
    live.inside().thaw();
    live.until([&] { return size() > before + 10; });
    for (const auto id : {first, second, third}) live.inside().signal(id, SIGKILL);
    for (const auto id : {first, second, third}) live.wait(id);
    return all + live.shell("echo on").out;
  });
  EXPECT_EQ(said,
            "the sandbox stands still, and nothing begins in it|the sandbox stands still, and nothing begins in it|"
            "the sandbox stands still already|still on\n");
}

INSTANTIATE_TEST_SUITE_P(As, LivingFiles, ::testing::Values(As::root, As::ordinary),
                         [](const auto& as) { return as.param == As::root ? "Root" : "Ordinary"; });

}  // namespace
}  // namespace weir::sandbox
