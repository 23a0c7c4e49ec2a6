// `weir session create`, run and understood.
#pragma once

#include <string>
#include <vector>

#include "wire/session_error.h"
#include "wire/session_reply.h"

namespace weir::library {

// Runs it (an absolute or relative path first) with the caller's environment and folder, and waits until the session
// stands. What it prints on standard error is dropped: with `--output=json` it says on standard output why it failed.
wire::Answer<wire::SessionInfo> create_session(const std::vector<std::string>& command_line);

}  // namespace weir::library
