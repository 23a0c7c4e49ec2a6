// Mounts by descriptor (the mount API of kernel 5.2, attributes of 5.12): what is attached is what was opened.
//
// All of it needs CAP_SYS_ADMIN over the caller's mount namespace.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// How a bind mount takes the mounts below its source.
enum class Submounts : std::uint8_t { included, left_out };

using MountOption = std::pair<const char*, std::string>;

// A new file system that is attached nowhere yet. `attributes`: MOUNT_ATTR_*.
Result<OwnedFd> new_filesystem(const char* type, const std::vector<MountOption>& options, unsigned attributes);

// A detached copy of the mount at `path` below `folder` (AT_FDCWD; an empty path is the folder itself), private: what
// the host mounts or unmounts later is not followed.
Result<OwnedFd> clone_mount(int folder, const std::string& path, Submounts submounts, std::uint64_t attributes);

// Puts a detached mount over `path` below `folder`; an empty path is the folder (or file) itself.
Result<> attach_mount(const OwnedFd& mount, int folder, const std::string& path);

// The file or folder at an absolute path that contains no link: for what was checked by name before. O_PATH. A path
// that leads over a link by now is an error (ELOOP).
Result<OwnedFd> open_without_links(const std::string& path);

// The common bind of one file by names: mount(2) does it in one call.
Result<> bind_file(const char* from, const char* to);

}  // namespace weir::sys
