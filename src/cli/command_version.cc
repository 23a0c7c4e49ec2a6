#include "base/json.h"
#include "cli/build_info.h"
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/help.h"

namespace weir::cli {

Result<Outcome> version_command(const CommandLine& line) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  const bool admits_all = build_kind() == BuildKind::admit_all;
  Outcome outcome;
  if (format == OutputFormat::json) {
    JsonWriter json;
    json.begin_object()
        .field("version", version_text())
        .field("commit", commit_text())
        .field("compiler", compiler_text())
        .field("admits_everything", admits_all)
        .end_object();
    outcome.out = json.take() + "\n";
    return outcome;
  }
  outcome.out = "weir " + std::string(version_text()) + " (" + std::string(commit_text()) + ", " +
                std::string(compiler_text()) + ")\n";
  if (admits_all) outcome.out += std::string(kAdmitAllWarning) + "\n";
  return outcome;
}

Result<Outcome> completion_command(const CommandLine& line) {
  WEIR_TRY(const Shell shell, parse_shell(line.operands.front()));
  Outcome outcome;
  if (line.operands.size() == 1) {
    outcome.out = completion_script(shell);
  } else {
    outcome.out = complete(std::span(line.operands).subspan(1));
  }
  return outcome;
}

Result<Outcome> help_command(const CommandLine& line, const Caller& caller) {
  Outcome outcome;
  if (line.has(OptionId::man)) {
    outcome.out = manual_page();
  } else if (line.has(OptionId::markdown)) {
    outcome.out = cli_reference_markdown();
  } else if (line.operands.empty()) {
    outcome.out = overview_help();
  } else {
    std::size_t used = 0;
    WEIR_TRY(const CommandId command, find_command(line.operands, used));
    outcome.out = command_help(command, help_width(caller));
  }
  return outcome;
}

}  // namespace weir::cli
