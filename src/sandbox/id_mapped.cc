#include "sandbox/id_mapped.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>

#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/id_maps.h"

namespace weir::sandbox {
namespace {

std::string map_line(std::uint32_t inside, std::uint32_t outside) {
  return std::to_string(inside) + " " + std::to_string(outside) + " 1\n";
}

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
Result<sys::OwnedFd> mapping(uid_t uid, gid_t gid, const Identity& identity) {
  const pid_t parent = ::getpid();
  WEIR_TRY(sys::ChildProcess holder, sys::ChildProcess::clone(CLONE_NEWUSER));
  if (holder.in_child()) hold(parent);
  WEIR_CHECK_OK(sys::write_id_map(holder.pid(), "uid_map", map_line(uid, identity.host_uid())));
  WEIR_CHECK_OK(sys::write_id_map(holder.pid(), "gid_map", map_line(gid, identity.host_gid())));
  const std::string path = "/proc/" + std::to_string(holder.pid()) + "/ns/user";
  return sys::checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "cannot open " + path);
}

}  // namespace

Result<> map_owner(const sys::OwnedFd& mount, uid_t uid, gid_t gid, const Identity& identity,
                   const std::string& source) {
  WEIR_TRY(const sys::OwnedFd ids, mapping(uid, gid, identity));
  mount_attr wanted{};
  wanted.attr_set = MOUNT_ATTR_IDMAP;
  wanted.userns_fd = static_cast<std::uint64_t>(ids.get());
  if (::mount_setattr(mount.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &wanted, sizeof wanted) == 0) return {};
  const int code = errno;
  Error error("cannot share " + source +
                  ": its file system, or one mounted below it, cannot map owners: " + sys::errno_text(code),
              code);
  return std::unexpected(std::move(error).with_remedy(
      "copy the folder to another file system (ext4, xfs, btrfs, tmpfs), or run weir as the "
      "user who owns it"));
}

}  // namespace weir::sandbox
