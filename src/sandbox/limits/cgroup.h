// A cgroup (v2) of a sandbox's own: memory, processors and processes of everything inside, counted together.
//
// weir uses what it was given (a delegated cgroup of its own, or as root the whole tree) and starts no service to get
// more. The cgroup holds init and everything below it, not the supervisor and not the gateway.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

struct Controllers {
  bool memory = false;
  bool cpu = false;
  bool pids = false;

  bool any() const { return memory || cpu || pids; }
  int count() const { return int{memory} + int{cpu} + int{pids}; }
  Controllers operator&(const Controllers& other) const {
    return {.memory = memory && other.memory, .cpu = cpu && other.cpu, .pids = pids && other.pids};
  }
  bool operator==(const Controllers&) const = default;
};

// The text of cgroup.controllers or cgroup.subtree_control; controllers that weir does not use are left out.
Controllers parse_controllers(const std::string& text);

// A folder in which this process may make cgroups with these controllers.
struct CgroupPlace {
  // How the controllers get to the cgroups that are made there.
  enum class Way : std::uint8_t {
    ready,       // they are there already
    enable,      // to be enabled first: the root of all cgroups, which may hold processes nevertheless
    step_aside,  // to be enabled first, and this process, the only one there, moves into a cgroup below
  };
  std::string folder;
  Controllers controllers;
  Way way = Way::ready;
};

// The best place in the hierarchy mounted at `mount` for a process whose own cgroup is `own` ("/user.slice/..."): the
// one with most of the wanted controllers, and among those the one nearest to the process, so that the caller's own
// limits hold for the sandbox as well. Nothing where no wanted controller is to be had. Changes nothing.
std::optional<CgroupPlace> find_cgroup_place(const Controllers& wanted, const std::string& mount,
                                             const std::string& own);
// The same for this process.
std::optional<CgroupPlace> find_cgroup_place(const Controllers& wanted);

// The cgroup, held by a lock on its folder and marked as weir's: a marked one whose holder has died is removed when the
// next is made beside it.
class Cgroup {
 public:
  // Unset: not limited.
  struct Bounds {
    std::optional<std::uint64_t> memory_bytes = {};
    std::optional<std::uint32_t> cpu_millis = {};
    std::optional<std::uint32_t> processes = {};  // init not counted
  };
  // What the kernel counted.
  struct Hits {
    std::uint64_t memory_kills = 0;
    std::uint64_t processes_refused = 0;
  };

  // `name` is unique on this machine. Removes what dead supervisors left at the same place.
  static Result<Cgroup> create(const CgroupPlace& place, const std::string& name);

  Cgroup(Cgroup&&) noexcept = default;
  Cgroup& operator=(Cgroup&&) = delete;
  ~Cgroup() { remove(); }

  Result<> set(const Bounds& bounds);
  // For CLONE_INTO_CGROUP.
  int fd() const { return folder_.get(); }
  Hits hits() const;
  // Once nothing runs in it; what still runs is killed. Idempotent, and done by the destructor.
  void remove();

 private:
  Cgroup(CgroupPlace place, std::string name) : place_(std::move(place)), name_(std::move(name)) {}
  Result<> prepare_place();
  void step_back();

  CgroupPlace place_;
  std::string name_;
  sys::OwnedFd folder_;  // invalid: removed, or moved from
  sys::OwnedFd aside_;   // this process's own, for Way::step_aside
};

}  // namespace weir::sandbox
