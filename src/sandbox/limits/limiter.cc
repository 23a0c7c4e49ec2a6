#include "sandbox/limits/limiter.h"

#include "sandbox/limits/memory_watch.h"

namespace weir::sandbox {

Result<Limiter> Limiter::prepare(const Spec& spec, Identity::Kind identity) {
  WEIR_TRY(LimitPlan plan, plan_limits(spec.limits, identity, spec.user));
  Limiter limiter(spec.limits, std::move(plan));
  WEIR_CHECK_OK(limiter.plan_guest());
  WEIR_CHECK_OK(limiter.make_cgroup(spec.id));
  return limiter;
}

Limiter Limiter::beside() const {
  Limiter other(limits_, plan_);
  other.for_guest_ = for_guest_;
  other.others_cgroup_ = cgroup_fd();
  return other;
}

Result<> Limiter::plan_guest() {
  if (plan_.watches(limits_)) for_guest_.data_bytes = *limits_.memory_bytes + kDataSlack;
  if (limits_.processes && plan_.pids == Means::rlimit) for_guest_.processes = std::uint64_t{*limits_.processes} + 1;
  if (limits_.cpu_millis && plan_.cpus == Means::affinity) {
    WEIR_TRY(for_guest_.processors, choose_processors(*limits_.cpu_millis / 1000));
  }
  return {};
}

Result<> Limiter::make_cgroup(const std::string& id) {
  if (!plan_.place) return {};
  Cgroup::Bounds bounds;
  if (plan_.memory == Means::cgroup) bounds.memory_bytes = limits_.memory_bytes;
  if (plan_.cpus == Means::cgroup) bounds.cpu_millis = limits_.cpu_millis;
  if (plan_.pids == Means::cgroup) bounds.processes = limits_.processes;
  WEIR_TRY(Cgroup made, Cgroup::create(*plan_.place, id));
  cgroup_.emplace(std::move(made));
  return cgroup_->set(bounds);
}

Result<bool> Limiter::look(pid_t init) {
  Usage usage;
  if (root_.valid()) {
    WEIR_TRY(usage, usage_of(root_.get()));
  }
  disk_full_ = disk_full_ || (limits_.disk_bytes && usage.full);
  if (!plan_.watches(limits_)) return false;
  return look_at_memory(init, usage.bytes);
}

Result<bool> Limiter::look_at_memory(pid_t init, std::uint64_t in_files) {
  const std::uint64_t limit = *limits_.memory_bytes;
  memory_exceeded_ = in_files > limit;
  if (!memory_exceeded_) {
    WEIR_TRY(const std::uint64_t in_processes, memory_of_tree(init, limit - in_files));
    memory_exceeded_ = in_processes > limit - in_files;
  }
  return memory_exceeded_;
}

const std::vector<LimitHit>& Limiter::finish() {
  if (finished_) return hits_;
  finished_ = true;
  if (root_.valid() && limits_.disk_bytes) {
    const auto usage = usage_of(root_.get());
    disk_full_ = disk_full_ || (usage && usage->full);
  }
  root_.reset();
  const Cgroup::Hits counted = cgroup_ ? cgroup_->hits() : Cgroup::Hits{};
  using Limit = LimitHit::Limit;
  if (memory_exceeded_ || counted.memory_kills > 0) hits_.push_back({.limit = Limit::memory});
  if (counted.processes_refused > 0) hits_.push_back({.limit = Limit::pids, .times = counted.processes_refused});
  if (disk_full_) hits_.push_back({.limit = Limit::disk});
  cgroup_.reset();
  return hits_;
}

}  // namespace weir::sandbox
