// The memory of everything in a sandbox, added up from outside: what holds --memory where there is no cgroup.
//
// It sees what processes have and what lies in the sandbox's root (a tmpfs). It does not see kernel memory (pipes,
// sockets, page tables) nor pages of shared memory that no process has mapped at that moment; guest_limits.h takes away
// the calls that make most of those.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/error.h"

namespace weir::sandbox {

// Bytes that `init` and every process below it have in memory and in swap. Shared pages count once. `enough`: above it
// the number is exact; below it the kernel's cheap counters suffice, which count shared pages once for each process.
// An error when init cannot be asked for its children; a process that ended meanwhile counts as nothing. kUncountable
// when there are more processes than anybody adds up, or some of them cannot be listed: over every limit. `mount`:
// where the kernel tells about processes.
inline constexpr std::uint64_t kUncountable = ~std::uint64_t{0};
Result<std::uint64_t> memory_of_tree(pid_t init, std::uint64_t enough, const std::string& mount = "/proc");

// Bytes in use on the file system of `root`, and whether it is full (no block or no inode left).
struct Usage {
  std::uint64_t bytes = 0;
  bool full = false;
};
Result<Usage> usage_of(int root);

}  // namespace weir::sandbox
