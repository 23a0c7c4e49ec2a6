#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "cli/doctor/probe.h"
#include "sys/errno.h"
#include "sys/mounts.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

// A user namespace that lives as long as the child that made it.
class UserNamespaceHolder {
 public:
  UserNamespaceHolder() = default;
  UserNamespaceHolder(const UserNamespaceHolder&) = delete;
  UserNamespaceHolder& operator=(const UserNamespaceHolder&) = delete;
  ~UserNamespaceHolder() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // A namespace without members but the child; needs CAP_SETUID and CAP_SETGID to write its maps.
  Result<sys::OwnedFd> make() {
    std::array<int, 2> ends{};
    WEIR_CHECK_OK(sys::checked(::pipe2(ends.data(), O_CLOEXEC), "cannot make a pipe"));
    const sys::OwnedFd ready(ends[0]);
    sys::OwnedFd tell(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      const char answer = ::unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
      if (::write(tell.get(), &answer, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    WEIR_CHECK_OK(sys::checked(pid_, "cannot start a child"));
    tell.reset();
    char answer = 'n';
    if (::read(ready.get(), &answer, 1) != 1 || answer != 'y') return fail("cannot make a user namespace");
    const std::string folder = "/proc/" + std::to_string(pid_);
    WEIR_CHECK_OK(write_map(folder + "/uid_map"));
    WEIR_CHECK_OK(write_map(folder + "/gid_map"));
    return sys::checked_fd(::open((folder + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC), "cannot open the namespace");
  }

 private:
  static Result<> write_map(const std::string& path) {
    WEIR_TRY(const sys::OwnedFd fd, sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "cannot open " + path));
    // Any range that is nobody's: nothing is ever run in it.
    constexpr std::string_view kMap = "0 2147418112 65536";
    if (::write(fd.get(), kMap.data(), kMap.size()) < 0) return sys::errno_error("cannot write " + path);
    return {};
  }

  pid_t pid_ = -1;
};

Result<std::string> probe_overlay() {
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_CHECK_OK(sys::checked(::unshare(CLONE_NEWNS), "cannot make a mount namespace"));
  WEIR_CHECK_OK(
      sys::checked(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "cannot make mounts private"));
  WEIR_CHECK_OK(sys::checked(::mount("tmpfs", "/tmp", "tmpfs", 0, "size=1m"), "cannot mount a tmpfs"));
  for (const char* folder : {"/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/merged"}) {
    WEIR_CHECK_OK(sys::checked(::mkdir(folder, 0755), "cannot make a folder"));
  }
  const char* const layers = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr";
  auto mounted = sys::checked(::mount("overlay", "/tmp/merged", "overlay", 0, layers), "cannot mount an overlay");
  if (mounted) return "overlayfs in a user namespace: -v SRC:DST:overlay, --here=overlay";
  const std::string remedy = mounted.error().code() == ENODEV ? "sudo modprobe overlay" : "";
  return std::unexpected(
      std::move(mounted).error().context("-v SRC:DST:overlay and --here=overlay do not work").with_remedy(remedy));
}

Result<std::string> probe_idmapped_mount() {
  if (::geteuid() != 0) return "not needed: shares of an ordinary user keep their owner";
  UserNamespaceHolder holder;
  WEIR_TRY(const sys::OwnedFd user_namespace, holder.make());
  WEIR_TRY(const sys::OwnedFd tree,
           sys::checked_fd(::open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), "cannot clone a mount"));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<std::uint64_t>(user_namespace.get());
  WEIR_CHECK_OK(sys::checked(::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes),
                             "the file system of the current folder cannot be shared with mapped owners"));
  return "mount_setattr on the file system of the current folder";
}

Result<std::string> probe_links() {
  WEIR_TRY(const sys::OwnedFd fine, sys::open_without_links("/proc"));
  // A link to the caller's own folder there.
  const auto link = sys::open_without_links("/proc/self");
  if (link) return fail("openat2 follows a link that it was told not to follow");
  if (link.error().code() != ELOOP) return std::unexpected(link.error());
  return "openat2 refuses links: what was checked is what is mounted";
}

constexpr std::array kProbes = {
    Probe{"paths without links", Need::every_run, Footing::plain, probe_links},
    Probe{"overlay shares", Need::feature, Footing::user_namespace, probe_overlay},
    Probe{"shares as root", Need::feature, Footing::plain, probe_idmapped_mount},
};

}  // namespace

std::span<const Probe> file_probes() {
  return kProbes;
}

}  // namespace weir::cli
