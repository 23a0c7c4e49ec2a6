#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cstddef>

#include "cli/doctor/probe.h"
#include "sys/errno.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

Result<> stop_mount_propagation() {
  WEIR_CHECK_OK(sys::checked(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr),
                             "cannot keep mounts from spreading to the host"));
  return {};
}

Result<> enter_new_root() {
  WEIR_CHECK_OK(stop_mount_propagation());
  WEIR_CHECK_OK(sys::checked(::mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m"),
                             "cannot mount a tmpfs for the root"));
  WEIR_CHECK_OK(sys::checked(::mkdir("/tmp/usr", 0755), "cannot make a folder in the new root"));
  WEIR_CHECK_OK(sys::checked(::mount("/usr", "/tmp/usr", nullptr, MS_BIND | MS_REC, nullptr), "cannot bind /usr"));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
  WEIR_CHECK_OK(sys::checked(::mount_setattr(AT_FDCWD, "/tmp/usr", AT_RECURSIVE, &attributes, sizeof attributes),
                             "cannot make /usr read-only"));
  WEIR_CHECK_OK(sys::checked(::chdir("/tmp"), "cannot enter the new root"));
  // The old root is stacked on the new one and taken away: pivot_root(2), "pivot_root(".", ".")".
  WEIR_CHECK_OK(sys::checked(static_cast<int>(::syscall(SYS_pivot_root, ".", ".")), "cannot change the root"));
  WEIR_CHECK_OK(sys::checked(::umount2(".", MNT_DETACH), "cannot detach the old root"));
  return {};
}

// Answers getppid() with EPERM: harmless, and nothing else does that.
Result<> forbid_getppid() {
  std::array filter = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = filter.size(), .filter = filter.data()};
  WEIR_CHECK_OK(sys::checked(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "cannot set no_new_privs"));
  WEIR_CHECK_OK(sys::checked(static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)),
                             "cannot install a seccomp filter"));
  return {};
}

}  // namespace

Result<std::string> probe_user_namespace() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  // Ubuntu's restriction lets the namespace be made and takes its capabilities away: only using one shows that.
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWUTS), "the user namespace has no capabilities"));
  WEIR_CHECK_OK(sys::checked(::sethostname("weir", 4), "the user namespace has no capabilities"));
  return "unshare and id maps work, with capabilities inside";
}

Result<std::string> probe_pid_namespace() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWPID | CLONE_NEWNS), "cannot make a pid namespace"));
  return sys::in_throwaway_child([]() -> Result<std::string> {
    if (::getpid() != 1) return fail("the first process of a pid namespace is not 1");
    WEIR_CHECK_OK(stop_mount_propagation());
    // Forbidden where parts of the /proc outside are covered, as in containers.
    auto mounted = sys::checked(::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
                                "cannot mount a /proc of its own");
    if (!mounted) {
      return std::unexpected(std::move(mounted).error().with_remedy(
          "run weir where /proc is not covered (docker: --security-opt systempaths=unconfined)"));
    }
    return "pid 1 with a /proc of its own";
  });
}

Result<std::string> probe_small_namespaces() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWNS), "cannot make a mount namespace"));
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWIPC), "cannot make an ipc namespace"));
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWUTS), "cannot make a uts namespace"));
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWCGROUP), "cannot make a cgroup namespace"));
  return "mount, ipc, uts and cgroup namespaces";
}

Result<std::string> probe_private_root() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWNS), "cannot make a mount namespace"));
  WEIR_CHECK_OK(enter_new_root());
  struct statvfs status{};
  WEIR_CHECK_OK(sys::checked(::statvfs("/usr", &status), "cannot look at /usr"));
  if ((status.f_flag & ST_RDONLY) == 0) return fail("/usr is writable although it was mounted read-only");
  if (::access("/proc", F_OK) == 0) return fail("the old root is still there");
  return "tmpfs root by pivot_root, /usr read-only by mount_setattr";
}

Result<std::string> probe_no_new_privs() {
  WEIR_CHECK_OK(sys::checked(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "cannot set no_new_privs"));
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return fail("no_new_privs does not stay set");
  return "prctl";
}

Result<std::string> probe_seccomp() {
  WEIR_CHECK_OK(forbid_getppid());
  if (::syscall(SYS_getppid) != -1 || errno != EPERM) return fail("a seccomp filter was installed and is not obeyed");
  return "a filter was installed and obeyed";
}

Result<std::string> probe_memfd_seals() {
  WEIR_TRY(const sys::OwnedFd fd, sys::checked_fd(::memfd_create("weir-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING),
                                                  "cannot make a memory file"));
  if (::write(fd.get(), "x", 1) != 1) return sys::errno_error("cannot write a memory file");
  const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  WEIR_CHECK_OK(sys::checked(::fcntl(fd.get(), F_ADD_SEALS, seals), "cannot seal a memory file"));
  if (::write(fd.get(), "y", 1) != -1) return fail("a sealed memory file was written");
  return "memfd_create with seals: nobody can change a compiled policy";
}

Result<std::string> probe_pidfd() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  WEIR_CHECK_OK(sys::checked(pid, "cannot start a child"));
  // By number: the wrappers of glibc 2.36 cannot be linked from C++.
  const sys::OwnedFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int opened = errno;
  const bool killed = fd.valid() && ::syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0) == 0;
  if (!killed) ::kill(pid, SIGKILL);
  siginfo_t ended{};
  const int reaped = fd.valid() ? ::waitid(P_PIDFD, static_cast<id_t>(fd.get()), &ended, WEXITED)
                                : ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED);
  if (!fd.valid()) return sys::errno_error("cannot open a pidfd", opened);
  if (!killed || reaped != 0) return fail("a process cannot be ended through its pidfd");
  return "a process was ended and reaped through its pidfd";
}

}  // namespace weir::cli
