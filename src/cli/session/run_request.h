// The words of weir session run, exec and shell as a request.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "wire/session_request.h"

namespace weir::cli {

struct RunRequest {
  std::string session;
  wire::RunProcess process;
  std::vector<std::string> notices;  // lines without "weir: "
};

// The first operand is the session; "--" behind it is left out.
Result<RunRequest> plan_session_run(const CommandLine& line, const Caller& caller);

// A shell of the session's own, and a terminal where standard input is one.
enum class StandardInput : std::uint8_t { terminal, other };
Result<RunRequest> plan_session_shell(const CommandLine& line, const Caller& caller, StandardInput input);

// A process as weir session processes lists it.
Result<std::uint32_t> parse_pid(std::string_view text);

}  // namespace weir::cli
