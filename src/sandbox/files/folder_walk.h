// Everything in a folder, one after the other, however much it is: the memory is that of the folders that are open.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

enum class Depth : std::uint8_t { one, everything };

// Folders in folders that are looked into; each holds a descriptor.
inline constexpr std::size_t kMaxWalkDepth = 200;

struct Found {
  int parent;  // the folder that it is in
  const std::string& name;
  const std::string& path;  // relative to the top
  const struct stat& status;
};

// In no order, but a folder before what is in it. What goes away meanwhile is left out. No link is followed, and no
// file system entered that the kernel makes up. An error of `visit` ends it; so does a folder that cannot be read.
Result<> walk_folder(const sys::OwnedFd& top, Depth depth, const std::function<Result<>(const Found&)>& visit);

// Of /proc, /sys and the like: what is there comes into being by being read.
bool is_made_up(int fd);

}  // namespace weir::sandbox
