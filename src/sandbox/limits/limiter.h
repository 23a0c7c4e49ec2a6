// The limits of one running sandbox, as the supervisor holds them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/limits/cgroup.h"
#include "sandbox/limits/guest_limits.h"
#include "sandbox/limits/limits.h"

namespace weir::sandbox {

// A limit that was reached.
struct LimitHit {
  enum class Limit : std::uint8_t { memory, pids, disk } limit;
  std::uint64_t times = 1;
};

class Limiter {
 public:
  // A watch looks this often. What a sandbox can take in between is bounded by RLIMIT_DATA of its processes.
  static constexpr std::uint64_t kWatchMs = 50;
  // What one process may map beyond --memory where only a watch holds it: more than a process touches between two
  // looks, so that it is the watch that ends the sandbox, and says so.
  static constexpr std::uint64_t kDataSlack = 512ull << 20;

  // Before the clone: makes the cgroup, if one is needed.
  static Result<Limiter> prepare(const Spec& spec, Identity::Kind identity);

  // For a sandbox beside this one, which outlives it: in the same cgroup, so that both count together; what is held by
  // other means it may use once more.
  Limiter beside() const;

  // For CLONE_INTO_CGROUP, or -1.
  int cgroup_fd() const { return cgroup_ ? cgroup_->fd() : others_cgroup_; }
  const GuestLimits& for_guest() const { return for_guest_; }
  // Whether root() is to be handed in, and look() to be called every kWatchMs.
  bool looks() const { return limits_.disk_bytes || plan_.watches(limits_); }
  // The sandbox's root, for asking how full it is.
  void take_root(sys::OwnedFd root) { root_ = std::move(root); }

  // One look at what runs below `init`. True: the memory limit is exceeded, and the sandbox must end.
  Result<bool> look(pid_t init);

  // Once everything inside has ended: which limits were reached. Removes the cgroup. Idempotent.
  const std::vector<LimitHit>& finish();

 private:
  Limiter(Limits limits, LimitPlan plan) : limits_(limits), plan_(std::move(plan)) {}
  Result<> make_cgroup(const std::string& id);
  Result<> plan_guest();
  Result<bool> look_at_memory(pid_t init, std::uint64_t in_files);

  Limits limits_;
  LimitPlan plan_;
  GuestLimits for_guest_;
  std::optional<Cgroup> cgroup_;
  int others_cgroup_ = -1;
  sys::OwnedFd root_;
  bool memory_exceeded_ = false;
  bool disk_full_ = false;
  bool finished_ = false;
  std::vector<LimitHit> hits_;
};

}  // namespace weir::sandbox
