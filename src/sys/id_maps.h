// Which ids a new user namespace has, and which ids are there to give.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::sys {

struct IdRange {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;

  bool operator==(const IdRange&) const = default;
};

struct IdMaps {
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;

  bool operator==(const IdMaps&) const = default;
};

// Whether every id from `first` on exists in the caller's user namespace and the caller, as root, may give it away.
bool owns_ids(std::uint32_t first, std::uint64_t count);

// Writes the maps of a process that was just made in a new user namespace of the caller. Needs root, or maps of exactly
// the caller's own ids (setgroups is denied then, as the kernel demands).
Result<> write_id_maps(pid_t process, const IdMaps& maps);

// The same through newuidmap and newgidmap, which give an ordinary user what /etc/subuid and /etc/subgid say.
Result<> write_id_maps_by_helpers(pid_t process, const IdMaps& maps);

// The first of `count` ids in a row that a file like /etc/subuid gives to a user, by number or by name (as `passwd`
// has it). Nothing: none. Pure.
std::optional<std::uint32_t> subordinate_ids(const std::string& subids, const std::string& passwd, uid_t user,
                                             std::uint32_t count);

}  // namespace weir::sys
