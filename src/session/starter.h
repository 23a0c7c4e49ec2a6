// `weir session create` and `weir session wake`, run and understood: what only `weir` itself can start.
#pragma once

#include <string>
#include <vector>

#include "wire/session_error.h"
#include "wire/session_reply.h"

namespace weir::session {

// Runs a command that leaves a session behind and prints it as JSON (--output=json; the program first: an absolute or
// relative path) with the caller's environment and folder, and waits until the session stands. What it prints on
// standard error is dropped: it says on standard output why it failed.
wire::Answer<wire::SessionInfo> run_starter(const std::vector<std::string>& command_line);

}  // namespace weir::session
