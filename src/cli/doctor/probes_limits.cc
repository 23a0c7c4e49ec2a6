// What holds the limits of weir run on this machine.
#include <unistd.h>

#include <array>

#include "cli/doctor/probe.h"
#include "sandbox/identity.h"
#include "sandbox/limits/limits.h"

namespace weir::cli {
namespace {

// Good: a cgroup, which counts everything inside together, holds it. Otherwise what holds it instead is the finding,
// and the way to a cgroup its fix.
Result<std::string> held(const sandbox::Limits& limits, const char* without) {
  WEIR_TRY(const sandbox::LimitPlan plan,
           sandbox::plan_limits(limits, sandbox::Identity::kind_of_caller(), sandbox::User{}));
  const auto lines = sandbox::describe_limits(limits, plan);
  const sandbox::Controllers wanted = sandbox::wanted_controllers(limits);
  if (plan.place && plan.place->controllers == wanted) return "a cgroup in " + plan.place->folder;
  std::string remedy = sandbox::cgroup_remedy();
  if (wanted.cpu && ::geteuid() != 0) {
    // systemd delegates memory and pids to users by default, cpu only when told to.
    remedy += "; and for cpu: sudo systemctl edit user@.service, [Service] Delegate=cpu memory pids";
  }
  return std::unexpected(Error("no cgroup: by " + lines.front().means + without).with_remedy(std::move(remedy)));
}

Result<std::string> probe_limit_memory() {
  return held({.memory_bytes = sandbox::kMinMemory}, "");
}

Result<std::string> probe_limit_cpus() {
  return held({.cpu_millis = 1000}, ", whole numbers only");
}

Result<std::string> probe_limit_pids() {
  return held({.processes = 64}, ", not with --user root when weir is run by root; not counted when reached");
}

Result<std::string> probe_limit_disk() {
  return "the size of the root, which is a tmpfs";
}

constexpr std::array kProbes = {
    Probe{"--memory", Need::feature, Footing::plain, probe_limit_memory},
    Probe{"--cpus", Need::feature, Footing::plain, probe_limit_cpus},
    Probe{"--pids", Need::feature, Footing::plain, probe_limit_pids},
    Probe{"--disk", Need::feature, Footing::plain, probe_limit_disk},
};

}  // namespace

std::span<const Probe> limit_probes() {
  return kProbes;
}

}  // namespace weir::cli
