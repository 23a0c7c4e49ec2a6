#include "cli/command.h"
#include "cli/policy_input.h"
#include "cli/run_plan.h"
#include "cli/script_input.h"
#include "policy/text/show.h"

namespace weir::cli {
namespace {

Result<Outcome> start_or_show(const CommandLine& line, const Caller& caller, std::optional<Script> script) {
  WEIR_TRY(PolicyInput input, policy_input(line, caller));
  if (!line.has(OptionId::dry_run)) input.compile.purpose = policy::CompileInput::Purpose::running;
  WEIR_TRY(const policy::Compiled compiled, policy::compile_policy(input.compile));
  WEIR_CHECK_OK(check_runnable(compiled, line));
  WEIR_TRY(const OutputFormat format, output_format(line));
  WEIR_TRY(supervisor::RunOptions options, plan_run(line, caller, compiled));
  if (script) {
    options.spec.script = std::move(script->file);
    options.program_missing = languages::missing(*script->language);
  }
  if (compiled.patch && (options.spec.network == sandbox::Network::captured || options.spec.published)) {
    WEIR_TRY(sys::OwnedFd file, finish_compiled(std::move(input), *compiled.patch));
    options.policy_file = std::make_shared<const sys::OwnedFd>(std::move(file));
  }
  Outcome outcome;
  if (!line.has(OptionId::dry_run)) {
    outcome.start = std::move(options);
  } else if (format == OutputFormat::json) {
    outcome.out = plan_json(options, policy::show_json(compiled));
  } else {
    outcome.out = plan_text(options, policy::show_text(compiled));
  }
  return outcome;
}

}  // namespace

Result<Outcome> run_command(const CommandLine& line, const Caller& caller) {
  if (line.command != CommandId::script) return start_or_show(line, caller, std::nullopt);
  WEIR_TRY(Script script, read_script(line, caller));
  // From here on it is a run of that command.
  CommandLine run = line;
  run.operands = script.argv;
  return start_or_show(run, caller, std::move(script));
}

}  // namespace weir::cli
