// What is in a folder, one line of JSON an entry.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "control/file_messages.h"
#include "sandbox/files/folder_walk.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// Writes {"name","type","bytes","mode","modified","target"} lines to `to` (a pipe; blocks), in no order. "name" is
// relative to the folder. Errors: of walk_folder(), and when nobody reads.
Result<> list_folder(const sys::OwnedFd& folder, Depth depth, const sys::OwnedFd& to);

control::FileType type_of(mode_t mode);

}  // namespace weir::sandbox
