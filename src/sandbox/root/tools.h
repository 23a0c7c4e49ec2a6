// Tools from outside /usr (--tool), and the search path inside.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/shares/shares.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// Programs that weir itself provides: `python` where the host has only python3.
inline constexpr const char* kOwnPrograms = "/run/weir/bin";

// One host file or folder, visible read-only at its own path.
struct Tool {
  std::string source;  // links resolved
  std::string link;    // the path the user named, when that is a link to `source`; else empty
  std::string folder;  // goes onto PATH
  sys::OwnedFd mount;  // taken by the supervisor (root); empty: init takes it by its path
};

// A program's file, or a folder of programs (its bin/ if it has one). Names what is wrong with a path.
Result<std::vector<Tool>> resolve_tools(const std::vector<std::string>& paths);

// What may not be shared may not be a tool either: the machine's own folders and, unless the sharer says otherwise,
// sockets. The host's /usr, which every sandbox has, excepted.
Result<> check_tools(const std::vector<Tool>& tools, const Sharer& sharer);

// In the supervisor, before the clone: as root the tools are taken as mounts on which their owner is the sandbox's
// user, as shares are.
Result<> prepare_tools(std::vector<Tool>& tools, const Identity& identity);

// In init, with the current folder at the new root and the host's root still "/".
Result<> mount_tools(const std::vector<Tool>& tools);

// The environment of a program inside ("NAME=VALUE" each): as given, with the tools' folders in front of PATH and
// weir's own programs behind it; of `spec` only whether it seals.
std::vector<std::string> command_environment(const std::vector<std::string>& given, const Spec& spec,
                                             const std::vector<Tool>& tools);

// Where execve() should look for `program`, in order: the path itself if it has a slash, else one candidate per folder
// of PATH in `environment`. None for an empty name.
std::vector<std::string> candidates(const std::string& program, const std::vector<std::string>& environment);

}  // namespace weir::sandbox
