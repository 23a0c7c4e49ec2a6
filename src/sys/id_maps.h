// Which ids outside stand behind the ids of a new user namespace.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/error.h"

namespace weir::sys {

// Writes `name` (setgroups, uid_map, gid_map) of a process in a new user namespace; 0 is the caller itself. Each can be
// written once. The rules about who may write what are in user_namespaces(7).
Result<> write_id_map(pid_t process, std::string_view name, std::string_view text);

}  // namespace weir::sys
