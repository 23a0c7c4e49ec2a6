// The walls inside: what is given up before the command starts, and what the gateway cannot do any more. Tried with
// weir's own filters, because a kernel that takes a filter need not take these.
#include <asm/unistd.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "cli/doctor/probe.h"
#include "gateway/confine.h"
#include "sandbox/confinement/confinement.h"
#include "sys/errno.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

// From here on the child is what the command inside will be.
Result<> become_guest() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  return sandbox::confine(sandbox::User{}, sandbox::Identity::Kind::own_id);
}

struct RefusedCall {
  std::string_view name;
  int answer;
  // With arguments that the kernel itself would answer differently.
  long (*call)();
};

constexpr std::array kRefusedCalls = {
    RefusedCall{"unshare", EPERM, [] { return ::syscall(__NR_unshare, CLONE_NEWUSER); }},
    RefusedCall{"clone3", ENOSYS, [] { return ::syscall(__NR_clone3, nullptr, 0); }},
    RefusedCall{"setns", EPERM, [] { return ::syscall(__NR_setns, -1, 0); }},
    RefusedCall{"pidfd_getfd", EPERM, [] { return ::syscall(__NR_pidfd_getfd, -1, -1, 0); }},
    RefusedCall{"keyctl", EPERM, [] { return ::syscall(__NR_keyctl, -1, 0, 0, 0, 0); }},
    RefusedCall{"io_uring_setup", ENOSYS, [] { return ::syscall(__NR_io_uring_setup, 0, nullptr); }},
    RefusedCall{"socket(AF_PACKET)", EAFNOSUPPORT, [] { return ::syscall(__NR_socket, AF_PACKET, SOCK_RAW, 0); }},
    RefusedCall{"socket(AF_ALG)", EAFNOSUPPORT, [] { return ::syscall(__NR_socket, AF_ALG, SOCK_SEQPACKET, 0); }},
    RefusedCall{"ioctl(TIOCSTI)", EPERM, [] { return ::syscall(__NR_ioctl, -1, TIOCSTI, "x"); }},
};

Result<std::string> probe_seccomp() {
  WEIR_CHECK_OK(become_guest());
  for (const RefusedCall& refused : kRefusedCalls) {
    errno = 0;
    if (refused.call() != -1 || errno != refused.answer) {
      return fail("the filter stands, and " + std::string(refused.name) + " is not refused by it");
    }
  }
  // A filter that refuses everything would pass for a good one above.
  const sys::OwnedFd ordinary(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!ordinary.valid()) return sys::errno_error("the filter refuses an ordinary socket");
  return "the guest's own filter: " + std::to_string(kRefusedCalls.size()) +
         " calls that lead past a sandbox were refused, an ordinary socket was not";
}

Result<std::string> probe_capabilities() {
  WEIR_CHECK_OK(become_guest());
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> held{};
  WEIR_CHECK_OK(
      sys::checked(static_cast<int>(::syscall(SYS_capget, &header, held.data())), "cannot read capabilities"));
  for (const __user_cap_data_struct& word : held) {
    if ((word.effective | word.permitted | word.inheritable) != 0) return fail("capabilities are left after the drop");
  }
  for (int capability = 0; capability < 64; ++capability) {
    if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) {
      return fail("capability " + std::to_string(capability) + " can be regained after the drop");
    }
  }
  return "none left to the guest, none that it could regain";
}

Result<std::string> probe_no_new_privs() {
  WEIR_CHECK_OK(become_guest());
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return fail("no_new_privs does not stay set");
  // The kernel's own rule about it.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0) return fail("no_new_privs can be cleared");
  return "set, and cannot be cleared: set-id programs gain nothing";
}

Result<std::string> probe_crash_dump() {
  WEIR_CHECK_OK(become_guest());
  const pid_t pid = ::fork();
  if (pid == 0) {
    // As after exec: a guest's own program may be dumped as far as this flag goes.
    ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    ::signal(SIGABRT, SIG_DFL);
    ::abort();
  }
  WEIR_CHECK_OK(sys::checked(pid, "cannot start a child"));
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) return fail("a child could not be made to crash");
  if (WCOREDUMP(status)) {
    return std::unexpected(Error("a crash inside wrote a dump, or ran the program that core_pattern names, outside")
                               .with_remedy("sudo sysctl -w kernel.core_pattern=core"));
  }
  return "a guest crashed, and nothing outside was written or started";
}

Result<std::string> probe_gateway_confinement() {
  const auto lives = sys::in_throwaway_child([]() -> Result<std::string> {
    WEIR_CHECK_OK(gateway::confine());
    return "what a gateway does, it may do";
  });
  if (!lives) return lives;
  const auto dials = sys::in_throwaway_child([]() -> Result<std::string> {
    WEIR_CHECK_OK(gateway::confine());
    static_cast<void>(::socket(AF_INET, SOCK_STREAM, 0));
    return "dialled";
  });
  if (dials) return fail("a confined gateway can open a socket");
  if (dials.error().what().find("SIGSYS") == std::string::npos) return dials;
  return "the gateway's own filter: an attempt to open a socket ended the process";
}

constexpr std::array kProbes = {
    Probe{"guest seccomp", Need::every_run, Footing::user_namespace, probe_seccomp},
    Probe{"capabilities", Need::every_run, Footing::user_namespace, probe_capabilities},
    Probe{"no_new_privs", Need::every_run, Footing::user_namespace, probe_no_new_privs},
    Probe{"crash dumps", Need::improvement, Footing::user_namespace, probe_crash_dump},
    Probe{"gateway seccomp", Need::gateway, Footing::plain, probe_gateway_confinement},
};

}  // namespace

std::span<const Probe> confinement_probes() {
  return kProbes;
}

}  // namespace weir::cli
