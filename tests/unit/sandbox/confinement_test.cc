// What the processes inside may ask of the kernel. Refusals have a twin that shows that the attempt itself works.
#include "sandbox/confinement/confinement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox_runner.h"

namespace weir::sandbox::testing {
namespace {

using ::testing::HasSubstr;

const User kRoot = {.uid = 0, .gid = 0, .name = "root", .home = "/root"};

struct Who {
  As as;
  bool root_inside;
};

class ConfinementTest : public ::testing::TestWithParam<Who> {
 protected:
  void SetUp() override {
    if (!can_be(GetParam().as)) GTEST_SKIP() << "needs root";
  }
  Outcome here(Spec spec) {
    if (GetParam().root_inside) spec.user = kRoot;
    return run(spec, GetParam().as);
  }
  // The errno names (or "ok") of Python expressions, one per line.
  std::string results_of(const std::vector<std::string>& expressions) {
    std::string program = R"(
import ctypes, errno, fcntl, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(a & (2**64 - 1)) for a in args])
    if result == -1: raise OSError(ctypes.get_errno(), '')
    return result
def attempt(action):
    try:
        action()
        print('ok')
    except OSError as error:
        print(errno.errorcode[error.errno])
)";
    for (const std::string& expression : expressions) program += "attempt(lambda: " + expression + ")\n";
    const Outcome outcome = here(python(program));
    return outcome.out + outcome.err + outcome.failure;
  }
};

INSTANTIATE_TEST_SUITE_P(Users, ConfinementTest,
                         ::testing::Values(Who{As::root, false}, Who{As::root, true}, Who{As::ordinary, false},
                                           Who{As::ordinary, true}),
                         [](const auto& info) {
                           return std::string(info.param.as == As::root ? "Root" : "Ordinary") +
                                  (info.param.root_inside ? "RootInside" : "");
                         });

TEST_P(ConfinementTest, CapabilitiesAndPrivileges) {
  const Outcome outcome = here(shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"));
  // chown dac_override fowner fsetid kill setgid setuid net_bind_service
  const std::string kept = GetParam().root_inside ? "00000000000004fb" : "0000000000000000";
  EXPECT_EQ(outcome.out, "CapInh:\t0000000000000000\nCapPrm:\t" + kept + "\nCapEff:\t" + kept + "\nCapBnd:\t" + kept +
                             "\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n")
      << outcome.failure;
}

TEST_P(ConfinementTest, SetIdProgramsGiveNothing) {
  const Outcome outcome = here(shell("su -c id 2>&1; sudo -n id 2>&1; passwd -S root 2>&1; true"));
  if (!GetParam().root_inside) EXPECT_THAT(outcome.out, ::testing::Not(HasSubstr("uid=0")));
}

TEST_P(ConfinementTest, SocketFamilies) {
  EXPECT_EQ(results_of({"socket.socket(socket.AF_UNIX)", "socket.socket(socket.AF_INET)",
                        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)", "socket.socketpair()",
                        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"}),
            "ok\nok\nok\nok\nok\n");
  EXPECT_EQ(
      results_of({"socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
                  "socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)", "socket.socket(socket.AF_INET, 10, 0x300)",
                  "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)",
                  "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)"}),
      "EPERM\nEPERM\nEPERM\nEPROTONOSUPPORT\nEPROTONOSUPPORT\n");
  // SEQPACKET and DCCP have a default protocol; without its module the kernel's own refusal is another one.
  EXPECT_EQ(results_of({"call(41, 2, 5, 0)", "call(41, 10, 5, 0)", "call(41, 2, 6, 0)", "call(41, 2, 0x80805, 0)"}),
            "EPROTONOSUPPORT\nEPROTONOSUPPORT\nEPROTONOSUPPORT\nEPROTONOSUPPORT\n");
  EXPECT_EQ(results_of({"socket.socket(2, 1, 6)", "socket.socket(2, 2, 17)", "call(41, 2, 0x80802, 0)"}),
            "ok\nok\nok\n");
  // PACKET, VSOCK, ALG, XDP, BLUETOOTH, CAN, TIPC, KCM, RDS, QIPCRTR, SMC, X25 and netlink other than route.
  EXPECT_EQ(results_of({"[socket.socket(f, t) for f in (17,) for t in (2,)]", "socket.socket(40, 1)",
                        "socket.socket(38, 5)", "socket.socket(44, 3)", "socket.socket(31, 3, 1)",
                        "socket.socket(29, 3, 1)", "socket.socket(30, 1)", "socket.socket(41, 5)",
                        "socket.socket(21, 5)", "socket.socket(42, 2)", "socket.socket(43, 1)", "socket.socket(9, 5)",
                        "socket.socket(16, 3, 12)", "socket.socket(16, 3, 15)", "socket.socket(16, 3, 6)"}),
            "EAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\n"
            "EAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\nEAFNOSUPPORT\n"
            "EAFNOSUPPORT\n");
}

// The upper half of a register that holds an int is ignored by the kernel, so it must not hide a value.
TEST_P(ConfinementTest, UpperHalvesHideNothing) {
  EXPECT_EQ(results_of({"call(41, 1 << 32 | 17, 2, 0)", "call(41, 2, 1 << 32 | 3, 1)",
                        "call(16, 0, 1 << 32 | 0x5412, 0)", "call(272, 1 << 32 | 0x10000000)"}),
            "EAFNOSUPPORT\nEPERM\nEPERM\nEPERM\n");
}

// Netlink route answers, and changes nothing: no capability over the namespace.
TEST_P(ConfinementTest, RouteNetlinkOnlyReads) {
  const std::string send =
      "(lambda s: (s.send(%s), [0 for r in [s.recv(65536)] if struct.unpack_from('=H', r, 4)[0] == 2 and "
      "struct.unpack_from('=i', r, 16)[0] != 0 and (_ for _ in ()).throw(OSError(-struct.unpack_from('=i', r, 16)[0], "
      "''))]))(socket.socket(16, 3, 0))";
  const auto message = [&](const std::string& bytes) {
    std::string text = send;
    return text.replace(text.find("%s"), 2, bytes);
  };
  // RTM_GETLINK dump; RTM_NEWLINK of index 1, down; RTM_NEWROUTE default unreachable.
  EXPECT_EQ(results_of({message("struct.pack('=IHHIIBxHiII', 32, 18, 0x301, 1, 0, 0, 0, 0, 0, 0)"),
                        message("struct.pack('=IHHIIBxHiII', 32, 16, 5, 1, 0, 0, 0, 1, 0, 1)"),
                        message("struct.pack('=IHHII8BI', 28, 24, 0x405, 1, 0, 2, 0, 0, 0, 254, 4, 0, 7, 0)")}),
            "ok\nEPERM\nEPERM\n");
}

TEST_P(ConfinementTest, NamespacesAndMounts) {
  // clone(SIGCHLD) by way of fork is the twin; clone3 is absent so that libc falls back.
  EXPECT_EQ(results_of({"os.waitpid(os.fork() or os._exit(0), 0)", "call(272, 0x10000000)", "call(272, 0x40000000)",
                        "call(272, 0x20000)", "call(272, 0x80)", "call(56, 0x10000011, 0, 0, 0, 0)",
                        "call(56, 0x40000011, 0, 0, 0, 0)", "call(435, 0, 0)", "call(308, 0, 0)", "call(272, 0x200)"}),
            "ok\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nENOSYS\nEPERM\nok\n");
  // mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_tree_attr
  EXPECT_EQ(results_of({"call(165, 0, 0, 0, 0, 0)", "call(166, 0, 0)", "call(155, 0, 0)", "call(428, 0, 0, 0)",
                        "call(429, 0, 0, 0, 0, 0)", "call(430, 0, 0)", "call(431, 0, 0, 0, 0, 0)", "call(432, 0, 0, 0)",
                        "call(433, 0, 0, 0)", "call(442, 0, 0, 0, 0, 0)", "call(467, 0, 0, 0, 0, 0)"}),
            "EPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\n");
  EXPECT_NE(here(shell("mount -t tmpfs none /tmp")).exit_code, 0);
  EXPECT_NE(here(shell("unshare -Ur true")).exit_code, 0);
}

TEST_P(ConfinementTest, KernelSurface) {
  // add_key request_key keyctl bpf perf_event_open userfaultfd init_module kexec_load syslog open_by_handle_at
  // fanotify_init pidfd_getfd
  EXPECT_EQ(results_of({"call(248, 0, 0, 0, 0, 0)", "call(249, 0, 0, 0, 0)", "call(250, 0, 0)", "call(321, 0, 0, 0)",
                        "call(298, 0, 0, 0, 0, 0)", "call(323, 0)", "call(175, 0, 0, 0)", "call(246, 0, 0, 0, 0)",
                        "call(103, 10, 0, 0)", "call(304, 0, 0, 0)", "call(300, 0, 0)", "call(438, 0, 0, 0)"}),
            "EPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\n");
  EXPECT_EQ(results_of({"call(425, 1, 0)", "call(426, 0, 0, 0, 0, 0, 0)", "call(427, 0, 0, 0, 0)"}),
            "ENOSYS\nENOSYS\nENOSYS\n");
  // x32: the same calls under other numbers.
  EXPECT_EQ(results_of({"call(0x40000000 | 41, 2, 1, 0)", "call(0x40000000 | 39)", "call(39)"}),
            "ENOSYS\nENOSYS\nok\n");
  // personality: READ_IMPLIES_EXEC; the twin asks.
  EXPECT_EQ(results_of({"call(135, 0x0400000)", "call(135, 0xffffffff)"}), "EPERM\nok\n");
}

TEST_P(ConfinementTest, TypingIntoTheTerminalIsRefused) {
  EXPECT_EQ(results_of({"(lambda m, s: fcntl.ioctl(s, 0x5412, b'x'))(*os.openpty())",
                        "(lambda m, s: fcntl.ioctl(s, 0x541C, b'\\2'))(*os.openpty())",
                        "(lambda m, s: fcntl.ioctl(s, 0x5423, b'\\2\\0\\0\\0'))(*os.openpty())",
                        "(lambda m, s: fcntl.ioctl(s, 0x540C))(*os.openpty())",
                        "(lambda m, s: fcntl.ioctl(s, 0x541D))(*os.openpty())",
                        "(lambda m, s: fcntl.ioctl(s, 0x540A, 0))(*os.openpty())",
                        "(lambda m, s: fcntl.ioctl(s, 0x5413, b'x' * 8))(*os.openpty())"}),
            "EPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nok\n");
}

TEST_P(ConfinementTest, SetIdFilesCannotBeMade) {
  EXPECT_EQ(results_of({"os.close(os.open('/tmp/f', os.O_CREAT | os.O_WRONLY, 0o755))", "os.chmod('/tmp/f', 0o4755)",
                        "os.chmod('/tmp/f', 0o2755)", "os.fchmod(os.open('/tmp/f', os.O_RDONLY), 0o4755)",
                        "call(452, -100, 0, 0o4755, 0)", "os.open('/tmp/g', os.O_CREAT | os.O_WRONLY, 0o4755)",
                        "call(2, 0, 0o100, 0o4755)", "call(85, 0, 0o4755)", "call(437, -100, 0, 0, 24)",
                        "os.open('/tmp', 0o20000000 | os.O_DIRECTORY | os.O_WRONLY, 0o4755)",
                        "os.mknod('/tmp/h', 0o104755)", "os.chmod('/tmp/f', 0o1700)"}),
            "ok\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nENOSYS\nEPERM\nEPERM\nok\n");
}

TEST_P(ConfinementTest, CrashesStayInside) {
  const Outcome outcome = here(shell("ulimit -c 0 && ulimit -c unlimited && grep core /proc/self/limits | tr -s ' '"));
  EXPECT_THAT(outcome.out, HasSubstr("Max core file size 1 1 bytes"));
  EXPECT_EQ(results_of({"call(160, 0, 0)"}), "EFAULT\n");  // the twin: another limit reaches the kernel
}

TEST_P(ConfinementTest, InitCannotBeTraced) {
  // PTRACE_ATTACH, PTRACE_SEIZE, memory and descriptors of pid 1; the twin traces a child of its own.
  EXPECT_EQ(results_of({"call(101, 16, 1, 0, 0)", "call(101, 0x4206, 1, 0, 0)", "call(310, 1, 0, 0, 0, 0, 0)",
                        "call(312, 1, 1, 0, 0, 0)", "os.kill(1, 9)",
                        "(lambda p: (call(101, 16, p, 0, 0), os.kill(p, 9), os.waitpid(p, 0)))"
                        "(os.fork() or __import__('time').sleep(60))"}),
            "EPERM\nEPERM\nok\nEPERM\nok\nok\n");
  // Still there after the signal: init ignores what comes from inside.
  EXPECT_EQ(here(shell("kill -9 1; kill -TERM 1; exit 5")).exit_code, 5);
}

}  // namespace
}  // namespace weir::sandbox::testing
