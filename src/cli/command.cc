#include "cli/command.h"

#include "base/failure_line.h"
#include "cli/build_info.h"
#include "cli/help.h"

namespace weir::cli {
namespace {

Result<Outcome> dispatch(const CommandLine& line, const Caller& caller) {
  switch (line.command) {
    case CommandId::run:
    case CommandId::script:
      return run_command(line, caller);
    case CommandId::policy_check:
    case CommandId::policy_explain:
    case CommandId::policy_show:
    case CommandId::policy_test:
    case CommandId::policy_sets:
    case CommandId::policy_compile:
      return policy_command(line, caller);
    case CommandId::policy_learn:
      return learn_command(line, caller);
    case CommandId::image_import:
    case CommandId::image_ls:
    case CommandId::image_rm:
      return image_command(line, caller);
    case CommandId::snapshot_create:
    case CommandId::snapshot_ls:
    case CommandId::snapshot_show:
    case CommandId::snapshot_export:
    case CommandId::snapshot_import:
    case CommandId::snapshot_rm:
      return snapshot_command(line, caller);
    case CommandId::log:
      return log_command(line);
    case CommandId::diff:
    case CommandId::apply:
      return changes_command(line, caller);
    case CommandId::seal:
      return seal_command(line);
    case CommandId::session_create:
    case CommandId::service_create:
      return session_create_command(line, caller);
    case CommandId::session_wake:
      return session_wake_command(line, caller);
    case CommandId::session_ls:
    case CommandId::session_show:
    case CommandId::session_narrow:
    case CommandId::session_rm:
    case CommandId::session_processes:
    case CommandId::session_signal:
    case CommandId::service_ls:
    case CommandId::service_show:
    case CommandId::service_rm:
    case CommandId::ps:
    case CommandId::stop:
      return session_command(line, caller);
    case CommandId::session:
    case CommandId::session_run:
    case CommandId::session_shell:
    case CommandId::session_cp:
    case CommandId::session_output:
    case CommandId::service_logs:
    case CommandId::exec:
      return session_bytes_command(line, caller);
    case CommandId::serve:
      return serve_command(line);
    case CommandId::doctor:
      return doctor_command(line);
    case CommandId::version:
      return version_command(line);
    case CommandId::completion:
      return completion_command(line);
    case CommandId::help:
      return help_command(line, caller);
  }
  return fail("weir: this command is not in the table");
}

Result<Outcome> help_or_dispatch(const CommandLine& line, const Caller& caller) {
  if (line.has(OptionId::help))
    return Outcome{.out = command_help(line.command, help_width(caller)), .err = {}, .start = {}};
  return dispatch(line, caller);
}

}  // namespace

std::optional<std::string_view> Caller::variable(std::string_view name) const {
  for (const auto& [known, value] : environment) {
    if (known == name) return value;
  }
  return std::nullopt;
}

std::size_t help_width(const Caller& caller) {
  return caller.columns == 0 ? kDefaultHelpWidth : caller.columns;
}

Result<OutputFormat> output_format(const CommandLine& line) {
  const bool json = line.has(OptionId::json);
  const std::string format = line.value(OptionId::output).value_or(json ? "json" : "text");
  if (json && format == "text") {
    return std::unexpected(Error("options -o text and --json ask for two formats").with_remedy("keep one"));
  }
  if (format == "text") return OutputFormat::text;
  if (format == "json") return OutputFormat::json;
  return std::unexpected(Error("option -o: '" + format + "' is no output format").with_remedy("write text or json"));
}

bool leaves_something_behind(std::span<const std::string> words) {
  return words.size() > 1 && (words[0] == "session" || words[0] == "service") &&
         (words[1] == "create" || words[1] == "wake");
}

Outcome execute(std::span<const std::string> words, const Caller& caller) {
  Result<CommandLine> line = parse_command_line(words);
  Result<Outcome> outcome = line ? help_or_dispatch(*line, caller) : std::unexpected(std::move(line).error());
  if (outcome) return std::move(*outcome);
  return {.exit_code = supervisor::kExitOwnFailure, .out = {}, .err = failure_line(outcome.error()), .start = {}};
}

}  // namespace weir::cli
