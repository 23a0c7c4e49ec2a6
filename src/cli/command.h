// What every command is: a function from the command line and the caller's world to an Outcome. Only main() writes
// and starts things, so each command is tested by calling it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/parser.h"
#include "supervisor/run_options.h"
#include "supervisor/session/session_options.h"

namespace weir::cli {

using Variables = std::vector<std::pair<std::string, std::string>>;

// The process that called weir, as values.
struct Caller {
  Variables environment;
  std::string folder;  // absolute, links resolved; empty when the current folder is gone
  // How wide the terminal is that standard output goes to; 0 when it is none.
  std::size_t columns = 0;
  // Where the operator's floor stands. A constant of the program; tests put their own.
  std::string floor_path = "/etc/weir/floor.toml";

  // Nothing when the variable is not set.
  std::optional<std::string_view> variable(std::string_view name) const;
};

// Where a command that prints as it goes writes to. An error where nobody takes it any more.
struct Streams {
  std::function<Result<>(std::string_view)> out;
  std::function<Result<>(std::string_view)> err;
};

struct Outcome {
  int exit_code = 0;
  std::string out;  // for standard output
  std::string err;  // for standard error
  // weir run: start this after writing, and exit with what it returns.
  std::optional<supervisor::RunOptions> start;
  // weir session create: make this after writing, and exit with what it returns.
  std::optional<supervisor::SessionOptions> session = {};
  // Prints as it goes, after `err` and `out`; exit with what it returns.
  std::function<Result<int>(const Streams&)> stream = {};
};

// Errors are weir's own failures: exit code 125 and one line on stderr.
Result<Outcome> run_command(const CommandLine& line, const Caller& caller);
Result<Outcome> policy_command(const CommandLine& line, const Caller& caller);
Result<Outcome> learn_command(const CommandLine& line, const Caller& caller);
Result<Outcome> image_command(const CommandLine& line, const Caller& caller);
Result<Outcome> snapshot_command(const CommandLine& line, const Caller& caller);
Result<Outcome> log_command(const CommandLine& line);
Result<Outcome> changes_command(const CommandLine& line, const Caller& caller);
Result<Outcome> seal_command(const CommandLine& line);
Result<Outcome> session_create_command(const CommandLine& line, const Caller& caller);
Result<Outcome> session_wake_command(const CommandLine& line, const Caller& caller);
// session ls, show, processes, signal, narrow, rm; service ls, show, rm; ps; stop.
Result<Outcome> session_command(const CommandLine& line, const Caller& caller);
// session by itself, session run, shell, cp, output; service logs; exec: descriptors 0, 1 and 2 are theirs while they
// run.
Result<Outcome> session_bytes_command(const CommandLine& line, const Caller& caller);
// Becomes weir-serve, the program beside this one.
Result<Outcome> serve_command(const CommandLine& line);
Result<Outcome> doctor_command(const CommandLine& line);
Result<Outcome> version_command(const CommandLine& line);
Result<Outcome> completion_command(const CommandLine& line);
Result<Outcome> help_command(const CommandLine& line, const Caller& caller);

// Parses and executes; failures have become an Outcome.
Outcome execute(std::span<const std::string> words, const Caller& caller);

// Whether what these words start may stay when weir has ended.
bool leaves_something_behind(std::span<const std::string> words);

// Where the lines of a help text end.
std::size_t help_width(const Caller& caller);

enum class OutputFormat : std::uint8_t { text, json };
// -o and --json; text when it is not given.
Result<OutputFormat> output_format(const CommandLine& line);

}  // namespace weir::cli
