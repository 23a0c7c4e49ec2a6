// A command's output, kept until it has ended.
#pragma once

#include "daemon/attached_run.h"
#include "daemon/daemon.h"

namespace weir::daemon {

// A RunResult (docs/openapi.yaml), at most `most` bytes of each stream; what is more is read and dropped. A client that
// goes ends the run.
Task<Outcome> collect(Call& call, AttachedRun run, std::uint64_t most);

}  // namespace weir::daemon
