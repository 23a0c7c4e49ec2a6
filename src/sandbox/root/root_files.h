// Making files and folders in the new root, which is the current folder while it is built: paths here are relative.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// A mount that is ready, and where it goes. They wait until all files and folders of the root are made: a layered root
// is mounted in between.
struct WaitingMount {
  sys::OwnedFd mount;
  std::string path;
};
using WaitingMounts = std::vector<WaitingMount>;
// In their order.
Result<> attach(const WaitingMounts& mounts);

// The umask must be 0.
Result<> make_folder(const std::string& path, mode_t mode);
Result<> make_file(const std::string& path, std::string_view content);
Result<> make_link(const std::string& target, const std::string& path);
Result<> give_to(const std::string& path, uid_t uid, gid_t gid);

// A copy of a link of the host, as it is.
Result<> copy_link(const std::string& host_path, const std::string& path);

// What a mount of the host is put on: an empty file or folder at `path` (absolute, as seen inside), with the folders
// above it. Links are followed as a process inside would follow them, never to the host. Only the private root is
// written: where a share already covers the path, it must exist.
enum class MountPointKind : std::uint8_t { file, folder };
Result<sys::OwnedFd> mount_point(const std::string& path, MountPointKind kind);

}  // namespace weir::sandbox
