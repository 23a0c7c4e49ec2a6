// A folder whose entries are read; closed when it goes.
#pragma once

#include <dirent.h>

#include <memory>

#include "sys/owned_fd.h"

namespace weir::sys {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Null when opendir(3) or fdopendir(3) failed. Made of a descriptor it owns that too.
using Folder = std::unique_ptr<DIR, CloseFolder>;

// Of a folder that is open for reading. Null and errno: it is none, or opening it had failed.
Folder folder_of(OwnedFd fd);

// The next entry besides "." and "..". Null: there is none more (errno is 0), or the folder cannot be read (errno).
const dirent* next_entry(const Folder& folder);

}  // namespace weir::sys
