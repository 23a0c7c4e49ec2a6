// Which snapshots there are, and whose.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json_document.h"
#include "daemon/bodies.h"
#include "daemon/daemon.h"

namespace weir::daemon {

// All of this machine's user, as `weir snapshot ls -o json` has them.
Task<wire::Answer<std::vector<Json>>> all_snapshots(Daemon& daemon, const Principal& who);

// A token begins with its own snapshots only: each that `words` names is put in by its id, one that is not its own is
// `snapshot_not_found`.
Task<wire::Answer<CreateWords>> with_own_snapshots(Daemon& daemon, CreateWords words, const Principal& who);

}  // namespace weir::daemon
