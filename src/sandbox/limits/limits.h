// What a sandbox may use of the machine, and what holds it to that here.
//
// A limit that nothing can hold on this machine is refused before anything starts; none is ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/limits/cgroup.h"
#include "sandbox/spec.h"

namespace weir::sandbox {

// How large the machine is for whoever starts the sandbox.
struct Machine {
  std::uint64_t memory_bytes = 0;
  std::uint64_t swap_bytes = 0;
  std::uint32_t processors = 0;  // that this process may run on
  std::uint64_t pids = 0;        // kernel.pid_max
};
Result<Machine> this_machine();

// Below these nothing useful runs: init itself and the files of the root take some.
inline constexpr std::uint64_t kMinMemory = 8ull << 20;
inline constexpr std::uint64_t kMinDisk = 1ull << 20;
inline constexpr std::uint32_t kMinCpuMillis = 10;

// Whether the limits are possible on a machine of that size. Errors name the option.
Result<> check_limits(const Limits& limits, const Machine& machine);

// What holds a limit.
enum class Means : std::uint8_t {
  cgroup,    // the kernel counts everything inside together
  watch,     // memory: the supervisor sums up the processes, and RLIMIT_DATA bounds each
  rlimit,    // pids: RLIMIT_NPROC of the sandbox's user namespace
  affinity,  // cpus: the processors themselves
};

// Fields of limits that were not asked for mean nothing. --disk is always held by the size of the root's tmpfs.
struct LimitPlan {
  Means memory = Means::cgroup;
  Means cpus = Means::cgroup;
  Means pids = Means::cgroup;
  // Where the cgroup will be made; nothing when none is needed.
  std::optional<CgroupPlace> place;

  bool watches(const Limits& limits) const { return limits.memory_bytes && memory == Means::watch; }
};

// Finds out what will hold each limit; changes nothing. `place`: what find_cgroup_place() found for
// wanted_controllers().
Result<LimitPlan> plan_limits(const Limits& limits, Identity::Kind identity, const User& user,
                              const std::optional<CgroupPlace>& place);
// The same for this process.
Result<LimitPlan> plan_limits(const Limits& limits, Identity::Kind identity, const User& user);

Controllers wanted_controllers(const Limits& limits);

// For people: "memory" and "512M, by a cgroup".
struct LimitLine {
  std::string limit;
  std::string value;
  std::string means;
};
std::vector<LimitLine> describe_limits(const Limits& limits, const LimitPlan& plan);

// What a caller without a cgroup can do about it.
std::string cgroup_remedy();

// "1.5" of 1500.
std::string cpus_text(std::uint32_t millis);

}  // namespace weir::sandbox
