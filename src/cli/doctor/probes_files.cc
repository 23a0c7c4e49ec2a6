#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "cli/doctor/probe.h"
#include "sandbox/shares/id_mapped.h"
#include "sys/errno.h"
#include "sys/lease.h"
#include "sys/mounts.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

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
  if (mounted) return "overlayfs in a user namespace: --image, -v SRC:DST:overlay, --here=overlay";
  const std::string remedy = mounted.error().code() == ENODEV ? "sudo modprobe overlay" : "";
  return std::unexpected(std::move(mounted)
                             .error()
                             .context("--image, -v SRC:DST:overlay and --here=overlay do not work")
                             .with_remedy(remedy));
}

Result<std::string> probe_idmapped_mount() {
  WEIR_TRY(const sandbox::Identity identity, sandbox::Identity::claim(sandbox::Spec{}));
  if (identity.kind() == sandbox::Identity::Kind::own_id)
    return "not needed: shares of an ordinary user keep their owner";
  WEIR_TRY(const sys::OwnedFd tree, sys::clone_mount(AT_FDCWD, ".", sys::Submounts::left_out, 0));
  WEIR_CHECK_OK(sandbox::map_owner(tree, ::getuid(), ::getgid(), identity, "the current folder"));
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

Result<std::string> probe_leases() {
  WEIR_TRY(const auto patience, sys::lease_patience());
  // A file that has a name, as those of shares have.
  std::string path = "/tmp/weir-doctor-XXXXXX";
  WEIR_TRY(sys::OwnedFd made, sys::checked_fd(::mkostemp(path.data(), O_CLOEXEC), "cannot make a file in /tmp"));
  const sys::OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ::unlink(path.c_str());
  if (!file.valid()) return sys::errno_error("cannot open a file in /tmp");
  made.reset();
  WEIR_CHECK_OK(in_context(sys::take_lease(file.get()), "--sensitive does not work"));
  return "leases, for " + (patience ? std::to_string(patience->count()) + " s" : "any time") +
         ": --sensitive; a file system may have none";
}

constexpr std::array kProbes = {
    Probe{"paths without links", Need::every_run, Footing::plain, probe_links},
    Probe{"overlay shares", Need::feature, Footing::user_namespace, probe_overlay},
    Probe{"sensitive files", Need::feature, Footing::plain, probe_leases},
    Probe{"shares as root", Need::feature, Footing::plain, probe_idmapped_mount},
};

}  // namespace

std::span<const Probe> file_probes() {
  return kProbes;
}

}  // namespace weir::cli
