// A process in a session that has the caller's own descriptors, or a terminal behind the caller's.
#pragma once

#include <string>

#include "base/error.h"
#include "session/registry.h"
#include "wire/session_reply.h"
#include "wire/session_request.h"

namespace weir::cli {

// Begins the process and stays with it: signals to this process are sent on to it, what its terminal prints is printed,
// and it dies with this process, which is what its connection does. A folder among descriptors 0, 1 and 2 is refused:
// it would lead out of the sandbox. `who`: as Registry::find().
// Of one that a signal to this process ended before it had begun, the exit code is 128+n.
Result<wire::ExitedProcess> run_attached(const session::Registry& registry, const std::string& who,
                                         wire::RunProcess request);

}  // namespace weir::cli
