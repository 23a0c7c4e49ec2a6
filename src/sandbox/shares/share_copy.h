// Copying a share into the sandbox (:copy).
#pragma once

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// A copy lies in memory: the root of a sandbox is a tmpfs.
inline constexpr std::uint64_t kMaxCopiedBytes = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kMaxCopiedEntries = 200'000;
// Folders below folders: each level holds two descriptors open.
inline constexpr int kMaxCopiedDepth = 128;

// Copies files, folders and links with their modes and times; set-id bits, sockets, pipes and devices are left out.
// Links are copied, never followed. `from` is a file or folder, `to` the empty file or folder that becomes it (O_PATH
// is enough for both). What the caller cannot read is an error that names it.
Result<> copy_tree(const sys::OwnedFd& from, const sys::OwnedFd& to);

}  // namespace weir::sandbox
