// What the file system of a sandbox shows, and what it does not.
#include "sandbox/root/root.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RootTest : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam())) GTEST_SKIP() << "needs root";
  }
  // Exit code 0: every line of the script did.
  void expect_all(const std::string& script) {
    const Outcome outcome = run(shell("set -e\n" + script), GetParam());
    EXPECT_EQ(outcome.exit_code, 0) << script << "\n" << outcome.out << outcome.err << outcome.failure;
  }
  // Every command must fail; its twin shows that the tool itself works.
  void expect_refused(const std::string& command, const std::string& twin) {
    const Outcome outcome = run(shell(command), GetParam());
    EXPECT_NE(outcome.exit_code, 0) << command << "\n" << outcome.out;
    EXPECT_NE(outcome.exit_code, 125) << outcome.failure;
    expect_all(twin);
  }
  Outcome here(const Spec& spec) { return run(spec, GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Users, RootTest, ::testing::Values(As::root, As::ordinary),
                         [](const auto& info) { return info.param == As::root ? "Root" : "Ordinary"; });

TEST_P(RootTest, IsWritableWhereItIsPrivate) {
  expect_all(
      "mkdir /any-folder; echo x > /any-folder/file; test $(cat /any-folder/file) = x\n"
      "echo x > /tmp/a; echo x > /var/tmp/a; echo x > ~/a; echo x > /run/a; echo x > /dev/shm/a\n"
      "test $(stat -c %a /) = 755; test $(stat -c %a /tmp) = 1777; test $(stat -c %a ~) = 700\n"
      "test $(stat -c %U ~) = sandbox\n");
}

TEST_P(RootTest, TheHostsProgramsAreReadOnly) {
  expect_refused("echo x > /usr/bin/true", "test -x /usr/bin/true; echo x > /tmp/true");
  expect_refused("touch /usr/new", "touch /new");
  expect_refused("touch /bin/new", "/bin/true");
  expect_refused("echo x > /etc/ssl/certs/new.pem", "ls /etc/ssl/certs > /tmp/certs");
}

TEST_P(RootTest, NothingElseOfTheHostIsThere) {
  expect_all(
      "test ! -e /sys; test ! -e /boot; test ! -e /work; test ! -e /opt; test ! -e /etc/shadow\n"
      "test ! -e /etc/ssl/private; test ! -e /etc/machine-id; test \"$(ls /home)\" = sandbox\n"
      "test \"$(ls -A /root 2>/dev/null)\" = ''\n");
  const Outcome mounts = here(shell("cat /proc/self/mountinfo"));
  EXPECT_THAT(mounts.out, Not(HasSubstr(" /oldroot ")));
  EXPECT_THAT(mounts.out, Not(HasSubstr("/sys/fs/cgroup")));
}

TEST_P(RootTest, ThereIsNoWayUp) {
  expect_all(
      "cd /; i=0; while [ $i -lt 64 ]; do cd ..; i=$((i+1)); done; test \"$(ls -d usr)\" = usr; test ! -e boot\n"
      "test ! -e /proc/self/root/boot; test ! -e /proc/$$/cwd/../../boot");
}

TEST_P(RootTest, EtcNamesTheUserAndNobodyOfTheHost) {
  expect_all(
      "test $(id -un) = sandbox; test $(whoami) = sandbox; test $(wc -l < /etc/passwd) = 3\n"
      "getent hosts localhost > /dev/null; test -L /etc/localtime; test -s /etc/ld.so.cache\n"
      "grep -q 'hosts: files dns' /etc/nsswitch.conf; test \"$(cat /etc/hostname)\" = weir\n"
      "test -e /etc/resolv.conf; test ! -s /etc/resolv.conf");
}

TEST_P(RootTest, DevIsMinimal) {
  const Outcome outcome = here(shell("ls -1 /dev | tr '\\n' ' '"));
  EXPECT_EQ(outcome.out, "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
  expect_all(
      "echo x > /dev/null; test $(head -c 4 /dev/zero | wc -c) = 4; test $(head -c 8 /dev/urandom | wc -c) = 8\n"
      "! echo x > /dev/full\n");
  expect_refused("mknod /tmp/disk b 254 0 && head -c1 /tmp/disk", "mknod /tmp/fifo p");
}

TEST_P(RootTest, TerminalsAreItsOwn) {
  const Outcome outcome =
      here(python("import os; m, s = os.openpty(); print(os.ttyname(s)); os.write(m, b'x\\n'); "
                  "print(os.read(s, 10))"));
  EXPECT_EQ(outcome.out, "/dev/pts/0\nb'x\\n'\n") << outcome.err;
}

TEST_P(RootTest, ProcShowsOnlyTheSandbox) {
  expect_all(
      "test $(ls -d /proc/[0-9]* | wc -l) -lt 8; test ! -e /proc/1\n"
      "test -r /proc/cpuinfo; test -r /proc/meminfo; test -r /proc/stat; test -r /proc/self/status");
}

TEST_P(RootTest, WhatProcTellsAboutTheHostIsMasked) {
  for (const char* name : {"kcore", "keys", "key-users", "kallsyms", "timer_list", "kmsg", "sched_debug", "config.gz",
                           "modules", "cmdline", "interrupts", "iomem", "latency_stats"}) {
    const std::string path = std::string("/proc/") + name;
    if (::access(path.c_str(), F_OK) != 0) continue;
    const Outcome outcome = here(shell("head -c 100 " + path + " 2>/dev/null"));
    EXPECT_EQ(outcome.out, "") << path;
  }
  EXPECT_NE(here(shell("cat /proc/uptime")).out, "");
  expect_all("for d in acpi bus driver fs irq scsi; do test -z \"$(ls /proc/$d 2>/dev/null)\"; done");
  // /dev/null is what lies there: writing does nothing.
  expect_all("test \"$(stat -c %t:%T /proc/kallsyms)\" = 1:3");
}

TEST_P(RootTest, KernelSettingsAreReadOnly) {
  expect_refused("echo 1 > /proc/sys/net/ipv4/ip_forward", "cat /proc/sys/net/ipv4/ip_forward > /dev/null");
  expect_refused("echo x > /proc/sys/kernel/hostname", "cat /proc/sys/kernel/hostname > /dev/null");
  expect_refused("echo x > /proc/sys/kernel/core_pattern", "cat /proc/sys/kernel/core_pattern > /dev/null");
  Spec as_root = shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
  as_root.user = {.uid = 0, .gid = 0, .name = "root", .home = "/root"};
  EXPECT_NE(here(as_root).exit_code, 0);
}

TEST_P(RootTest, PythonIsThereAndPipMayInstall) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "no python3 on this machine";
  expect_all("python -c 'print(1)'");
  const Outcome outcome = here(python(
      "import os, sysconfig; p = os.path.join(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED'); "
      "print(os.path.isfile(p)); import site; print(site.getusersitepackages().startswith('/home/sandbox/.local'))"));
  EXPECT_EQ(outcome.out, "False\nTrue\n") << outcome.err;
}

TEST_P(RootTest, OwnUidAndHome) {
  Spec spec = shell("id -u; id -g; stat -c %u ~; touch /x; stat -c %u /x");
  spec.user = {.uid = 4711, .gid = 4711, .name = "sandbox", .home = "/home/sandbox"};
  EXPECT_EQ(here(spec).out, "4711\n4711\n4711\n4711\n");
  Spec root = shell("id -u; id -un; pwd; touch /x; stat -c %u /x; echo x >> /etc/passwd");
  root.user = {.uid = 0, .gid = 0, .name = "root", .home = "/root"};
  const Outcome outcome = here(root);
  EXPECT_EQ(outcome.out, "0\nroot\n/root\n0\n") << outcome.failure;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_P(RootTest, ToolsAreVisibleReadOnlyAndOnPath) {
  const TestFolder files(GetParam());
  const std::string tool = files.write("kit/bin/my-tool", "#!/bin/sh\necho tool-runs $0\n");
  ASSERT_EQ(::chmod(tool.c_str(), 0755), 0);
  ASSERT_EQ(::symlink(tool.c_str(), (files.path() + "/linked").c_str()), 0);
  Spec spec = shell("my-tool; echo x > " + tool + " || echo read-only");
  spec.tools = {tool};
  EXPECT_EQ(here(spec).out, "tool-runs " + tool + "\nread-only\n");
  spec.tools = {files.path() + "/kit"};
  EXPECT_EQ(here(spec).out, "tool-runs " + tool + "\nread-only\n");
  Spec linked = shell("linked");
  linked.tools = {files.path() + "/linked"};
  EXPECT_EQ(here(linked).out, "tool-runs " + files.path() + "/linked\n");
  linked.tools = {files.path() + "/missing"};
  EXPECT_EQ(here(linked).exit_code, 125);
}

}  // namespace
}  // namespace weir::sandbox::testing
