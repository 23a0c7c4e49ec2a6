#include "sandbox/root/root_files.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "sys/errno.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

// `path` below the current folder, which every link and every ".." takes for the root.
sys::OwnedFd open_inside(const std::string& path) {
  return sys::open_resolved(AT_FDCWD, path, O_PATH, RESOLVE_IN_ROOT);
}

Result<> require_private(const sys::OwnedFd& folder, const std::string& path) {
  struct stat here{};
  struct stat root{};
  if (::fstat(folder.get(), &here) != 0 || ::stat(".", &root) != 0) return sys::errno_error("cannot look at " + path);
  if (here.st_dev == root.st_dev) return {};
  return std::unexpected(Error("cannot show anything at /" + path + ": it does not exist in the folder shared there")
                             .with_remedy("make it on the host first, or choose another place inside"));
}

Result<> make_entry(const sys::OwnedFd& parent, const std::string& name, MountPointKind kind, const std::string& path) {
  if (kind == MountPointKind::folder) {
    if (::mkdirat(parent.get(), name.c_str(), 0755) != 0) return sys::errno_error("cannot make /" + path);
    return {};
  }
  const sys::OwnedFd made(::openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!made.valid()) return sys::errno_error("cannot make /" + path);
  return {};
}

}  // namespace

Result<> attach(const WaitingMounts& mounts) {
  for (const auto& [mount, path] : mounts) WEIR_CHECK_OK(sys::attach_mount(mount, AT_FDCWD, path));
  return {};
}

Result<> make_folder(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0) return sys::errno_error("cannot make the folder /" + path);
  return {};
}

Result<> make_file(const std::string& path, std::string_view content) {
  WEIR_TRY(const sys::OwnedFd fd, sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644),
                                                  "cannot make /" + path));
  // A tmpfs takes a small file whole or not at all.
  if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    return sys::errno_error("cannot write /" + path);
  return {};
}

Result<> make_link(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) != 0) return sys::errno_error("cannot make the link /" + path);
  return {};
}

Result<> give_to(const std::string& path, uid_t uid, gid_t gid) {
  if (::lchown(path.c_str(), uid, gid) != 0) return sys::errno_error("cannot give /" + path + " to the sandbox's user");
  return {};
}

Result<> copy_link(const std::string& host_path, const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlink(host_path.c_str(), target.data(), target.size() - 1);
  if (size < 0) return sys::errno_error("cannot read the link " + host_path);
  return make_link(std::string(target.data(), static_cast<std::size_t>(size)), path);
}

Result<sys::OwnedFd> mount_point(const std::string& path, MountPointKind kind) {
  std::string done;
  std::string_view rest = path;
  sys::OwnedFd at = open_inside("");
  while (at.valid()) {
    rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
    if (rest.empty()) return at;
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(name.size());
    const std::string next = done.empty() ? name : done + "/" + name;
    sys::OwnedFd found = open_inside(next);
    if (!found.valid() && errno == ENOENT) {
      WEIR_CHECK_OK(require_private(at, next));
      const bool last = rest.find_first_not_of('/') == std::string_view::npos;
      WEIR_CHECK_OK(make_entry(at, name, last ? kind : MountPointKind::folder, next));
      found = open_inside(next);
    }
    at = std::move(found);
    done = next;
  }
  return sys::errno_error("cannot open /" + done + " inside");
}

}  // namespace weir::sandbox
