// --disk: everything that is written outside of shares lies on one tmpfs, whose size is the limit.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sys/mounts.h"

namespace weir::sandbox {

// The options that bound a tmpfs to the limit, and the number of its files with it (each takes a kilobyte of the
// kernel's memory that the size does not count). Empty without a limit: then the kernel's default holds, half of the
// memory.
std::vector<sys::MountOption> tmpfs_bounds(const std::optional<std::uint64_t>& disk_bytes);

}  // namespace weir::sandbox
