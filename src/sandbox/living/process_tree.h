// What lives in a sandbox, seen from outside: nothing inside is asked, and nothing inside can hide from it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::sandbox {

// A mount of procfs.
struct Proc {
  const std::string& mount;
  std::string folder_of(pid_t process) const { return mount + "/" + std::to_string(process); }
};

// `init` and everything below it. Nothing: there are too many to be counted. It is no picture of one moment: what moves
// may be there twice or not at all, but for one thing: where init has no child, nothing lives.
Result<std::optional<std::vector<pid_t>>> tree_below(const Proc& proc, pid_t init);

// The pid of each process in the namespace of `init` but init's own, as they are called inside; those that can be
// looked at, at most `most`, and not much further is looked. Empty: nothing lives there but init. An error: it cannot
// be found out.
struct Living {
  bool any = false;
  std::vector<std::uint32_t> pids;
};
Result<Living> living_below(pid_t init, std::size_t most);

}  // namespace weir::sandbox
