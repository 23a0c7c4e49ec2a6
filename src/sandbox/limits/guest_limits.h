// What init does to itself, and thereby to everything inside, where no cgroup holds a limit.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "sys/seccomp_filter.h"

namespace weir::sandbox {

struct GuestLimits {
  // RLIMIT_DATA of each process. Also takes away memory that belongs to no process (memory files, System V shared
  // memory), which nobody could count: programs are told that this kernel has none.
  std::optional<std::uint64_t> data_bytes;
  // RLIMIT_NPROC of the sandbox's user namespace, init included.
  std::optional<std::uint64_t> processes;
  // The processors everything inside runs on; changing that is refused.
  std::vector<unsigned> processors;

  bool any() const { return data_bytes || processes || !processors.empty(); }
};

// In init, after every other privilege was given up. Proves that the number of processes is held here, by trying.
Result<> apply_guest_limits(const GuestLimits& limits);

// The calls that would undo or evade the limits.
sys::SeccompFilter limits_filter(const GuestLimits& limits);

// `count` processors out of those this process may use, a different choice for different processes.
Result<std::vector<unsigned>> choose_processors(unsigned count);

}  // namespace weir::sandbox
