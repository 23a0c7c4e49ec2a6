// Pid 1 of a sandbox: builds the sandbox around itself, starts the command, reaps, reports, ends.
#pragma once

#include <string>
#include <vector>

#include "sandbox/identity.h"
#include "sandbox/limits/limiter.h"
#include "sandbox/root/tools.h"
#include "sandbox/shares/share_mounts.h"
#include "sandbox/spec.h"
#include "sys/channel.h"

namespace weir::sandbox {

// Init's own exit code when it fails; the supervisor has been told why.
inline constexpr int kInitFailed = 125;

// What the supervisor prepares before the clone; all of it lives in the memory that the child gets a copy of.
struct InitPlan {
  const Spec& spec;
  Identity::Kind identity;
  const std::vector<PreparedShare>& shares;
  const std::vector<Tool>& tools;
  const std::vector<sys::OwnedFd>& lowers;
  const Limiter* limiter = nullptr;  // Spec::limits
};

// Where processes begin that name no folder.
const char* start_folder(const Spec& spec);

// Runs in the child of a clone with the flags of all namespaces but the network's, which is a copy of the supervisor
// and executes no other program (that would cost more than everything it does). Takes over the child's end of the
// channel, which blocks.
[[noreturn]] void run_init(const InitPlan& plan, sys::Channel supervisor);

}  // namespace weir::sandbox
