// Commands whose input or output is as large as it likes.
#pragma once

#include <string>
#include <vector>

#include "daemon/command.h"
#include "daemon/daemon.h"

namespace weir::daemon {

// What spool_body() gives is this descriptor of the command, where nothing else is inherited.
inline constexpr int kSpooledFd = 3;

// The body of the request in a file without a name, below the state folder, to be read from its beginning. Programs
// read archives more than once.
Task<wire::Answer<sys::OwnedFd>> spool_body(Call& call);

// Runs a command and sends what it prints as it comes. Its failure before the first byte is an error like any other;
// after that the answer has no end,
// nor has it where it is read too slowly (Pace).
Task<Outcome> send_output(Call& call, std::vector<std::string> words, std::string type);

}  // namespace weir::daemon
