#include "sandbox/limits/limits.h"

#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "base/quantity.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sandbox {
namespace {

std::unexpected<Error> too_much(const std::string& option, const std::string& asked, const std::string& there) {
  return std::unexpected(
      Error("option " + option + ": " + asked + " is more than this machine has").with_remedy("it has " + there));
}

std::unexpected<Error> too_little(const std::string& option, const std::string& asked, const std::string& least) {
  return std::unexpected(
      Error("option " + option + ": " + asked + " is too little for any sandbox").with_remedy("the least is " + least));
}

// RLIMIT_NPROC counts per user namespace since 5.14; before, it counts all processes of the caller.
bool counts_processes_by_namespace() {
  utsname names{};
  unsigned major = 0;
  unsigned minor = 0;
  if (::uname(&names) != 0 || std::sscanf(names.release, "%u.%u", &major, &minor) != 2) return false;
  return major > 5 || (major == 5 && minor >= 14);
}

// A kernel without the lists of children cannot be asked for what runs in a sandbox.
bool lists_children() {
  const std::string pid = std::to_string(::getpid());
  return ::access(("/proc/self/task/" + pid + "/children").c_str(), R_OK) == 0;
}

std::unexpected<Error> cannot_hold(std::string what) {
  return std::unexpected(Error(std::move(what)).with_remedy(cgroup_remedy()));
}

Result<Means> memory_without_cgroup() {
  if (!lists_children()) {
    return cannot_hold("option --memory: there is no cgroup to hold it, and this kernel does not list children");
  }
  return Means::watch;
}

Result<Means> cpus_without_cgroup(std::uint32_t millis) {
  if (millis % 1000 == 0) return Means::affinity;
  const std::string whole = std::to_string(millis / 1000 + 1);
  return std::unexpected(Error("option --cpus: without a cgroup only whole processors can be given")
                             .with_remedy("write --cpus " + whole + ", or " + cgroup_remedy()));
}

Result<Means> pids_without_cgroup(Identity::Kind identity, const User& user) {
  if (identity != Identity::Kind::own_id && user.uid == 0) {
    return cannot_hold(
        "option --pids: there is no cgroup to hold it, and root inside has 65536 users, each of which would count "
        "alone");
  }
  if (identity != Identity::Kind::range && !counts_processes_by_namespace()) {
    return cannot_hold(
        "option --pids: there is no cgroup to hold it, and this kernel (before 5.14) counts all processes "
        "of the caller");
  }
  return Means::rlimit;
}

std::string text_of(Means means) {
  switch (means) {
    case Means::cgroup:
      return "a cgroup";
    case Means::watch:
      return "a watch of its processes, every 50 ms; less strict than a cgroup";
    case Means::rlimit:
      return "RLIMIT_NPROC of its user namespace";
    case Means::affinity:
      return "processors of its own choice of the machine's (affinity)";
  }
  return "";
}

}  // namespace

std::string cpus_text(std::uint32_t millis) {
  std::string text = std::to_string(millis / 1000);
  if (millis % 1000 == 0) return text;
  std::string rest = std::to_string(1000 + millis % 1000).substr(1);
  rest.erase(rest.find_last_not_of('0') + 1);
  return text + "." + rest;
}

Result<Machine> this_machine() {
  struct sysinfo info{};
  if (::sysinfo(&info) != 0) return sys::errno_error("cannot ask for the size of the machine");
  cpu_set_t set;
  CPU_ZERO(&set);
  // EINVAL: more processors than a cpu_set_t holds; such a machine has 1024 at least.
  const int processors = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : CPU_SETSIZE;
  WEIR_TRY(const std::string text, sys::read_file("/proc/sys/kernel/pid_max", 64));
  Machine machine{.memory_bytes = std::uint64_t{info.totalram} * info.mem_unit,
                  .swap_bytes = std::uint64_t{info.totalswap} * info.mem_unit,
                  .processors = static_cast<std::uint32_t>(processors)};
  std::from_chars(text.data(), text.data() + text.size(), machine.pids);
  return machine;
}

Result<> check_limits(const Limits& limits, const Machine& machine) {
  if (limits.memory_bytes) {
    const std::string asked = size_text(*limits.memory_bytes);
    if (*limits.memory_bytes < kMinMemory) return too_little("--memory", asked, size_text(kMinMemory));
    if (*limits.memory_bytes > machine.memory_bytes) {
      return too_much("--memory", asked, size_text(machine.memory_bytes >> 20 << 20));
    }
  }
  if (limits.cpu_millis) {
    const std::string asked = cpus_text(*limits.cpu_millis);
    if (*limits.cpu_millis < kMinCpuMillis) return too_little("--cpus", asked, cpus_text(kMinCpuMillis));
    if (*limits.cpu_millis > std::uint64_t{machine.processors} * 1000) {
      return too_much("--cpus", asked, std::to_string(machine.processors));
    }
  }
  if (limits.processes && *limits.processes >= machine.pids) {
    return too_much("--pids", std::to_string(*limits.processes), std::to_string(machine.pids) + " (kernel.pid_max)");
  }
  if (limits.disk_bytes) {
    const std::string asked = size_text(*limits.disk_bytes);
    const std::uint64_t there = machine.memory_bytes + machine.swap_bytes;
    if (*limits.disk_bytes < kMinDisk) return too_little("--disk", asked, size_text(kMinDisk));
    if (*limits.disk_bytes > there) {
      return too_much("--disk", asked, size_text(there >> 20 << 20) + " of memory and swap, where the root is kept");
    }
  }
  return {};
}

Controllers wanted_controllers(const Limits& limits) {
  Controllers wanted;
  wanted.memory = limits.memory_bytes.has_value();
  wanted.cpu = limits.cpu_millis.has_value();
  wanted.pids = limits.processes.has_value();
  return wanted;
}

Result<LimitPlan> plan_limits(const Limits& limits, Identity::Kind identity, const User& user,
                              const std::optional<CgroupPlace>& place) {
  const Controllers there = place ? place->controllers : Controllers{};
  LimitPlan plan;
  if (limits.memory_bytes && !there.memory) {
    WEIR_TRY(plan.memory, memory_without_cgroup());
  }
  if (limits.cpu_millis && !there.cpu) {
    WEIR_TRY(plan.cpus, cpus_without_cgroup(*limits.cpu_millis));
  }
  if (limits.processes && !there.pids) {
    WEIR_TRY(plan.pids, pids_without_cgroup(identity, user));
  }
  plan.place = place;
  return plan;
}

Result<LimitPlan> plan_limits(const Limits& limits, Identity::Kind identity, const User& user) {
  std::optional<CgroupPlace> place;
  const Controllers wanted = wanted_controllers(limits);
  if (wanted.any()) place = find_cgroup_place(wanted);
  return plan_limits(limits, identity, user, place);
}

std::vector<LimitLine> describe_limits(const Limits& limits, const LimitPlan& plan) {
  std::vector<LimitLine> lines;
  if (limits.memory_bytes) lines.push_back({"memory", size_text(*limits.memory_bytes), text_of(plan.memory)});
  if (limits.cpu_millis) lines.push_back({"cpus", cpus_text(*limits.cpu_millis), text_of(plan.cpus)});
  if (limits.processes) lines.push_back({"pids", std::to_string(*limits.processes), text_of(plan.pids)});
  if (limits.disk_bytes) lines.push_back({"disk", size_text(*limits.disk_bytes), "the size of its root (tmpfs)"});
  return lines;
}

std::string cgroup_remedy() {
  if (::access("/sys/fs/cgroup/cgroup.controllers", F_OK) != 0) {
    return "start the machine with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1), which has the controllers";
  }
  if (::geteuid() == 0) return "run it in a cgroup of its own: systemd-run --scope -p Delegate=yes weir run ...";
  return "run it in a cgroup of its own: systemd-run --user --scope -p Delegate=yes weir run ...";
}

}  // namespace weir::sandbox
