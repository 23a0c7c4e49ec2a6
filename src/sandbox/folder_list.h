// What is in a folder, one line of JSON an entry, as a stream: however much it is, the memory is that of a few entries.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/error.h"
#include "control/file_messages.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

enum class Depth : std::uint8_t { one, everything };

// Folders in folders that are looked into; each holds a descriptor.
inline constexpr std::size_t kMaxListedDepth = 200;

// Writes {"name","type","bytes","mode","modified","target"} lines to `to` (a pipe; blocks), in no order. "name" is
// relative to the folder; of what other file systems hold below it the mount point only. What goes while it is listed
// is left out. Links are not followed. An error when a folder cannot be read, or nobody reads.
Result<> list_folder(const sys::OwnedFd& folder, Depth depth, int to);

control::FileType type_of(mode_t mode);

}  // namespace weir::sandbox
