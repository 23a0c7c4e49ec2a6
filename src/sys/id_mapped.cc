#include "sys/id_mapped.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sys/child_process.h"
#include "sys/errno.h"

namespace weir::sys {
namespace {

// Lives exactly as long as `parent` wants: a terminal's signals do not reach it, and it keeps nothing open.
[[noreturn]] void hold(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // Who died before that call sends nothing.
  if (::getppid() != parent) ::_exit(0);
  ::close_range(0, ~0u, 0);
  ::setsid();
  while (true) ::pause();
}

// A user namespace is needed only as a way to hand a mapping to the kernel: its one process waits to be killed.
Result<OwnedFd> mapping(const std::vector<IdRange>& uids, const std::vector<IdRange>& gids) {
  const pid_t parent = ::getpid();
  WEIR_TRY(ChildProcess holder, ChildProcess::clone(CLONE_NEWUSER));
  if (holder.in_child()) hold(parent);
  WEIR_CHECK_OK(write_id_maps(holder.pid(), {.uids = uids, .gids = gids}));
  const std::string path = "/proc/" + std::to_string(holder.pid()) + "/ns/user";
  return checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "cannot open " + path);
}

}  // namespace

Result<> map_ids(const OwnedFd& mount, const std::vector<IdRange>& uids, const std::vector<IdRange>& gids,
                 const std::string& source) {
  WEIR_TRY(const OwnedFd ids, mapping(uids, gids));
  mount_attr wanted{};
  wanted.attr_set = MOUNT_ATTR_IDMAP;
  wanted.userns_fd = static_cast<std::uint64_t>(ids.get());
  if (::mount_setattr(mount.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &wanted, sizeof wanted) == 0) return {};
  const int code = errno;
  Error error(
      "cannot share " + source + ": its file system, or one mounted below it, cannot map owners: " + errno_text(code),
      code);
  return std::unexpected(std::move(error).with_remedy(
      "copy the folder to another file system (ext4, xfs, btrfs; tmpfs since kernel 6.3), or run weir as the "
      "user who owns it"));
}

}  // namespace weir::sys
