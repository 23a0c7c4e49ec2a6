// --memory, --cpus, --pids, --disk and --timeout: values, and whether this machine can hold them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "cli/command.h"
#include "sandbox/limits/limits.h"
#include "supervisor/run_options.h"

namespace weir::cli {

// "1.5" -> 1500; at most three digits behind the point. 0 is an error.
Result<std::uint32_t> parse_cpus(std::string_view text);
// Processes and threads together; 0 is an error, not "no limit".
Result<std::uint32_t> parse_pids(std::string_view text);

struct Timeout {
  std::chrono::milliseconds time;
  std::optional<std::chrono::milliseconds> grace;
};
// "30s" or "30s,5s": the time, and how long the command may take to end by itself after it was asked to (0s: not at
// all). The time is at least a millisecond: 0 is an error, not "no limit".
Result<Timeout> parse_timeout(std::string_view text);

// All five options; refuses what this machine cannot hold. Adds to options.start_notices what is held less strictly
// than its name says.
Result<> plan_limits(const CommandLine& line, supervisor::RunOptions& options);

}  // namespace weir::cli
