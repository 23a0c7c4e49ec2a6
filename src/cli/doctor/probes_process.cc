#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cli/doctor/probe.h"
#include "sandbox/identity.h"
#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/pipe.h"
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

// What a process of its own namespace is called by the kernel; the same text means the same namespace.
std::string namespace_of(const char* kind) {
  std::array<char, 64> text{};
  const ssize_t size = ::readlink((std::string("/proc/self/ns/") + kind).c_str(), text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

Result<std::string> own_namespace(int flag, const char* kind) {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  const std::string before = namespace_of(kind);
  WEIR_CHECK_OK(with_remedy(sys::checked(::unshare(flag), "cannot make one"),
                            "a kernel with all kinds of namespaces, or a container that allows unshare"));
  if (namespace_of(kind) == before) return fail("unshare did nothing");
  return "one of its own was made and entered";
}

Result<std::string> probe_mount_namespace() {
  return own_namespace(CLONE_NEWNS, "mnt");
}
Result<std::string> probe_ipc_namespace() {
  return own_namespace(CLONE_NEWIPC, "ipc");
}
Result<std::string> probe_uts_namespace() {
  return own_namespace(CLONE_NEWUTS, "uts");
}
Result<std::string> probe_cgroup_namespace() {
  return own_namespace(CLONE_NEWCGROUP, "cgroup");
}

Result<std::string> probe_ids() {
  WEIR_TRY(const sandbox::Identity identity, sandbox::Identity::claim(sandbox::Spec{}));
  if (identity.kind() == sandbox::Identity::Kind::own_id) {
    return "this user's own id stands behind the one id inside";
  }
  return "65536 ids from " + std::to_string(identity.host_uid() - sandbox::User{}.uid) +
         " on, which nothing else has, for each sandbox of root";
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
  WEIR_TRY(sys::ChildProcess child, sys::ChildProcess::clone(0));
  if (child.in_child()) wait_to_be_killed();
  if (::syscall(SYS_pidfd_send_signal, child.pidfd(), SIGKILL, nullptr, 0) != 0) {
    const auto error = sys::errno_error("cannot end a process through its pidfd");
    ::kill(child.pid(), SIGKILL);
    return error;
  }
  const auto status = child.wait();
  if (!status || !WIFSIGNALED(*status)) return fail("a process cannot be reaped through its pidfd");
  return "a process was started (clone3), ended and reaped through its pidfd";
}

// Ends when its parent does, if the kernel keeps its word; until then it holds `life` open.
[[noreturn]] void follow_parent_into_death(const sys::OwnedFd& life) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  const pid_t own = ::getpid();
  if (::write(life.get(), &own, sizeof own) != sizeof own) ::_exit(1);
  wait_to_be_killed();
}

Result<std::string> probe_parent_death() {
  WEIR_TRY(auto pipe, sys::make_pipe());
  auto& [watch, life] = pipe;
  const pid_t parent = ::fork();
  if (parent == 0) {
    if (::fork() == 0) follow_parent_into_death(life);
    wait_to_be_killed();
  }
  WEIR_CHECK_OK(sys::checked(parent, "cannot start a child"));
  life.reset();
  pid_t orphan = 0;
  const bool ready = ::read(watch.get(), &orphan, sizeof orphan) == sizeof orphan;
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  if (!ready) return fail("a child of a child did not start");
  // Nobody holds the other end any more when it is dead.
  pollfd waiting{.fd = watch.get(), .events = 0, .revents = 0};
  if (::poll(&waiting, 1, 2000) == 1) return "a process died when its parent was killed: nothing outlives weir";
  ::kill(orphan, SIGKILL);
  return fail("a process outlives its parent although it asked not to");
}

constexpr std::array kProbes = {
    Probe{"user namespace", Need::every_run, Footing::plain, probe_user_namespace},
    Probe{"ids", Need::every_run, Footing::plain, probe_ids},
    Probe{"pid namespace", Need::every_run, Footing::user_namespace, probe_pid_namespace},
    Probe{"mount namespace", Need::every_run, Footing::user_namespace, probe_mount_namespace},
    Probe{"ipc namespace", Need::every_run, Footing::user_namespace, probe_ipc_namespace},
    Probe{"uts namespace", Need::every_run, Footing::user_namespace, probe_uts_namespace},
    Probe{"cgroup namespace", Need::every_run, Footing::user_namespace, probe_cgroup_namespace},
    Probe{"private root", Need::every_run, Footing::user_namespace, probe_private_root},
    Probe{"process handles", Need::every_run, Footing::plain, probe_pidfd},
    Probe{"parent death", Need::every_run, Footing::plain, probe_parent_death},
    Probe{"sealed memory", Need::gateway, Footing::plain, probe_memfd_seals},
};

}  // namespace

void wait_to_be_killed() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  for (;;) ::pause();
}

std::span<const Probe> process_probes() {
  return kProbes;
}

}  // namespace weir::cli
