#include "cli/command.h"
#include "cli/policy_input.h"
#include "cli/run_plan.h"

namespace weir::cli {

Result<Outcome> run_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(EffectivePolicy policy, effective_policy(line, caller));
  WEIR_TRY(supervisor::RunOptions options, plan_run(line, caller, policy));
  Outcome outcome;
  if (line.has(OptionId::dry_run)) {
    const bool json = options.summary == supervisor::SummaryFormat::json;
    outcome.out = json ? plan_json(options, policy) : plan_text(options, policy);
  } else {
    outcome.start = std::move(options);
  }
  return outcome;
}

}  // namespace weir::cli
