// Whether something below a folder is still what it was: without reading contents, by what the kernel writes down about
// each change (type, mode, inode number, size, times of content and of status).
#pragma once

#include <sys/stat.h>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::changes {

// Files and folders looked at below one path, and levels: each holds a descriptor.
inline constexpr std::size_t kMaxLookedAt = 200'000;
inline constexpr std::size_t kMaxLevels = 200;

struct Print {
  std::string digest = {};   // empty: nothing is there
  struct stat status{};      // where something is
  bool newer = false;        // something of it was changed after `since`
  std::string guarded = {};  // a path of it, relative to the share, that something outside runs by itself; else empty
};

// A folder with everything in it. `parent`: the folder that `name` is in, not through a link; `path`: its path relative
// to the share. An error where it holds too much, cannot be read, or another file system begins in it.
Result<Print> print_of(const sys::OwnedFd& parent, const std::string& name, const std::string& path,
                       const timespec& since);

// The folder that the last part of `path` is in, below `root`: through no link and on the same file system. Not valid
// and errno.
sys::OwnedFd open_parent(const sys::OwnedFd& root, const std::string& path);
std::string name_in(const std::string& path);

}  // namespace weir::changes
