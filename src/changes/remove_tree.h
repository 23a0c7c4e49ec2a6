// Removing what nobody is to see any more.
#pragma once

#include <string>

#include "sys/owned_fd.h"

namespace weir::changes {

// A file, a link or a folder with everything in it: through no link, and not into another file system. False: not all
// of it went.
bool remove_tree(const sys::OwnedFd& parent, const std::string& name);

}  // namespace weir::changes
