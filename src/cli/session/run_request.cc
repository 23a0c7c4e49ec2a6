#include "cli/session/run_request.h"

#include <algorithm>
#include <charconv>

#include "base/failure_line.h"
#include "cli/environment.h"
#include "cli/run_limits.h"
#include "cli/run_plan.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

// Fixed text: what the session has, as its user would get it at a login.
constexpr const char* kShell = "if command -v bash >/dev/null; then exec bash -l; fi; exec sh -l";

Result<> take_process_options(const CommandLine& line, const Caller& caller, RunRequest& request) {
  wire::RunProcess& process = request.process;
  if (const auto workdir = line.value(OptionId::workdir)) {
    WEIR_TRY(process.cwd, parse_workdir(*workdir));
  }
  if (const auto text = line.value(OptionId::timeout)) {
    WEIR_TRY(const Timeout timeout, parse_timeout(*text));
    if (timeout.grace) {
      return std::unexpected(
          Error("option --timeout: the grace time is the session's own").with_remedy("write --timeout DURATION alone"));
    }
    process.timeout_ms = static_cast<std::uint64_t>(timeout.time.count());
  }
  WEIR_TRY(const auto requests, variable_requests(line));
  // What is typed and printed on the caller's terminal is of its kind.
  if (process.terminal) {
    if (auto term = plain_variable(caller, "TERM")) process.env.emplace_back("TERM", std::move(*term));
  }
  for (const VariableRequest& each : requests) {
    auto value = each.value;
    if (const auto callers = caller.variable(each.name); !value && callers) value = std::string(*callers);
    if (value) {
      std::erase_if(process.env, [&](const auto& known) { return known.first == each.name; });
      process.env.emplace_back(each.name, std::move(*value));
    } else {
      request.notices.push_back("option -e: " + each.name + " is not set here and is left out");
    }
  }
  return {};
}

}  // namespace

Result<RunRequest> plan_session_run(const CommandLine& line, const Caller& caller) {
  RunRequest request{.session = line.operands.front(), .process = {}, .notices = {}};
  wire::RunProcess& process = request.process;
  process.argv.assign(line.operands.begin() + 1, line.operands.end());
  if (!process.argv.empty() && process.argv.front() == "--") process.argv.erase(process.argv.begin());
  if (process.argv.empty()) {
    return std::unexpected(
        Error("no command to run in the session").with_remedy("write weir session run ID -- COMMAND [ARG...]"));
  }
  process.terminal = line.has(OptionId::terminal);
  process.detach = line.has(OptionId::detach);
  if (process.terminal && process.detach) {
    return std::unexpected(
        Error("options -t and -d: a detached process has no terminal").with_remedy("leave one of them out"));
  }
  process.keeps_stdin = process.detach && line.has(OptionId::interactive);
  process.network_mode = line.value(OptionId::network).value_or("");
  process.network_allowlist = line.values(OptionId::allow);
  process.network_denylist = line.values(OptionId::deny);
  process.freeze = line.has(OptionId::freeze);
  process.keep_files = line.has(OptionId::keep_files);
  WEIR_CHECK_OK(take_process_options(line, caller, request));
  return request;
}

Result<RunRequest> plan_session_shell(const CommandLine& line, const Caller& caller, StandardInput input) {
  RunRequest request{.session = line.operands.front(), .process = {}, .notices = {}};
  request.process.argv = {"sh", "-c", kShell};
  request.process.terminal = input == StandardInput::terminal;
  WEIR_CHECK_OK(take_process_options(line, caller, request));
  return request;
}

Result<std::uint32_t> parse_pid(std::string_view text) {
  std::uint32_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error == std::errc() && end == text.data() + text.size() && pid != 0) return pid;
  return std::unexpected(
      Error(quoted(text, 64) + " is no process id").with_remedy("weir session processes ID lists those of a session"));
}

}  // namespace weir::cli
