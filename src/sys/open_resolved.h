// Opening by openat2(2) (kernel 5.6), which says itself how a path may lead.
#pragma once

#include <linux/openat2.h>

#include <cstdint>
#include <string>

#include "sys/owned_fd.h"

namespace weir::sys {

// Below the folder, and through no link: what somebody else puts in the way leads nowhere.
inline constexpr std::uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

// What `path` names from `folder` (AT_FDCWD; an empty path is the folder itself). `flags`: O_*, close-on-exec always;
// `resolve`: RESOLVE_*, links of /proc never; `mode`: of what O_CREAT makes. Not valid and errno: what openat2(2) says.
OwnedFd open_resolved(int folder, const std::string& path, int flags, std::uint64_t resolve, std::uint64_t mode = 0);

}  // namespace weir::sys
