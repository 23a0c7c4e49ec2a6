#include "sys/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>

#include "sys/errno.h"
#include "sys/open_resolved.h"

namespace weir::sys {

Result<OwnedFd> new_filesystem(const char* type, const std::vector<MountOption>& options, unsigned attributes) {
  const std::string what = std::string("cannot make a ") + type + " file system";
  WEIR_TRY(const OwnedFd context, checked_fd(::fsopen(type, FSOPEN_CLOEXEC), what));
  for (const auto& [key, value] : options) {
    const int set = value.empty() ? ::fsconfig(context.get(), FSCONFIG_SET_FLAG, key, nullptr, 0)
                                  : ::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0);
    if (set != 0) return errno_error(what + " (" + key + ")");
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return errno_error(what);
  return checked_fd(::fsmount(context.get(), FSMOUNT_CLOEXEC, attributes), what);
}

Result<OwnedFd> clone_mount(int folder, const std::string& path, Submounts submounts, std::uint64_t attributes) {
  const unsigned recursive = submounts == Submounts::included ? AT_RECURSIVE : 0u;
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive;
  WEIR_TRY(OwnedFd mount, checked_fd(::open_tree(folder, path.c_str(), flags), "cannot take the mount " + path));
  mount_attr wanted{};
  wanted.attr_set = attributes;
  wanted.propagation = MS_PRIVATE;
  if (::mount_setattr(mount.get(), "", AT_EMPTY_PATH | recursive, &wanted, sizeof wanted) != 0) {
    return errno_error("cannot restrict the mount " + path);
  }
  return mount;
}

Result<> attach_mount(const OwnedFd& mount, int folder, const std::string& path) {
  const unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (path.empty() ? MOVE_MOUNT_T_EMPTY_PATH : 0u);
  if (::move_mount(mount.get(), "", folder, path.c_str(), flags) != 0) return errno_error("cannot mount over " + path);
  return {};
}

Result<OwnedFd> open_without_links(const std::string& path) {
  OwnedFd found = open_resolved(AT_FDCWD, path, O_PATH, RESOLVE_NO_SYMLINKS);
  if (!found.valid()) return errno_error("cannot open " + path);
  return found;
}

Result<> bind_file(const char* from, const char* to) {
  if (::mount(from, to, nullptr, MS_BIND, nullptr) != 0)
    return errno_error(std::string("cannot mount ") + from + " over " + to);
  return {};
}

}  // namespace weir::sys
