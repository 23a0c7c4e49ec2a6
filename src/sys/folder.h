// A folder whose entries are read; closed when it goes.
#pragma once

#include <dirent.h>

#include <memory>

namespace weir::sys {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Null when opendir(3) or fdopendir(3) failed. Made of a descriptor it owns that too.
using Folder = std::unique_ptr<DIR, CloseFolder>;

}  // namespace weir::sys
