// What a command prints, and how it ends.
#pragma once

#include <cstddef>

#include "session/client.h"
#include "sys/owned_fd.h"
#include "weir/sandbox.h"
#include "wire/session_error.h"

namespace weir::library {

// Reads both pipes and the connection until the session says how the command ended. Of each stream `max_output` bytes
// are kept; what is more is read and dropped, so that the command never waits for it.
wire::Answer<RunResult> collect(session::Connection& connection, sys::OwnedFd out, sys::OwnedFd err,
                                std::size_t max_output);

}  // namespace weir::library
