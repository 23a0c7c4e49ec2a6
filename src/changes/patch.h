// What a kept file differs in from what is there now.
#pragma once

#include <string>

#include "changes/manifest.h"
#include "sys/owned_fd.h"

namespace weir::changes {

// A unified diff with its two head lines, escaped; a line that says why there is none; empty where the entry is no file
// or the files are the same.
std::string patch_of(const Manifest& manifest, const KeptEntry& entry, const sys::OwnedFd& contents);

}  // namespace weir::changes
