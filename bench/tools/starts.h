// Starts a command many times, some at once, and measures each from its start to its end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "tool.h"

namespace weir::bench {

// Settings of both tools: total=1, parallel=1, and hold=1: all run until standard input ends, then are killed.
// Prints the result; dies if a command cannot be started. A command that does not exit 0 is counted as an error.
// `start` begins one command and returns its pid.
void run_starts(const Arguments& arguments, const std::function<pid_t()>& start);

}  // namespace weir::bench
