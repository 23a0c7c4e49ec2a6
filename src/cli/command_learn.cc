// weir policy learn: run with an open door, or read what was recorded, and write down what was used.
#include <memory>

#include "audit/event_line.h"
#include "audit/receipt.h"
#include "cli/command.h"
#include "cli/policy_input.h"
#include "cli/run_plan.h"
#include "policy/text/learn.h"
#include "sys/files.h"
#include "sys/line_file.h"
#include "sys/memory_file.h"
#include "sys/pending_file.h"

namespace weir::cli {
namespace {

constexpr std::size_t kMaxReceiptBytes = 16u << 20;
// Where some name is denied, the names of first flights are read even in mode open, and judged as an allow list would
// have them. Nobody has this one: names below weir.internal never go upstream.
constexpr const char* kReadsFirstFlights = "learn.weir.internal";

// What was used, of whatever was read.
struct Findings {
  std::vector<policy::UsedDestination> used;
  std::vector<std::string> asked;
  std::uint64_t uncounted = 0;

  void add(const std::vector<audit::Destination>& destinations) {
    for (const audit::Destination& entry : destinations) {
      used.push_back({.proto = entry.proto,
                      .name = entry.name,
                      .addresses = entry.addresses,
                      .port = entry.port,
                      .flows = entry.flows,
                      .bytes_up = entry.bytes_up,
                      .bytes_down = entry.bytes_down});
    }
  }

  void add(const audit::Tally& tally) {
    add(tally.destinations());
    for (const audit::AskedName& name : tally.names()) {
      if (name.answered != 0) asked.push_back(name.name);
    }
    uncounted += tally.left_out();
  }
};

// Strict: a policy is not learned from a record that somebody changed.
Result<> add_events(const std::string& path, Findings& findings) {
  WEIR_TRY(sys::LineFile lines, sys::LineFile::open(path));
  audit::Tally tally;
  for (std::uint64_t number = 1;; ++number) {
    WEIR_TRY(const auto line, lines.next_line(audit::kMaxLine));
    if (!line) break;
    const auto recorded = audit::parse_line(*line);
    if (!recorded) return fail(path + ":" + std::to_string(number) + ": " + recorded.error().what());
    tally.add(recorded->event, recorded->sandbox);
  }
  if (lines.has_half_line()) return fail(path + ": the last line is not whole");
  findings.add(tally);
  return {};
}

Result<> add_file(const std::string& path, Findings& findings) {
  constexpr std::string_view kReceipt = "{\"receipt\":";
  if (!sys::begins_with(path, as_bytes(kReceipt))) return add_events(path, findings);
  WEIR_TRY(const std::string text, sys::read_file(path, kMaxReceiptBytes));
  const auto destinations = audit::parse_receipt(text);
  if (!destinations) return fail(path + ": " + destinations.error().what());
  findings.add(*destinations);
  return {};
}

// Where the policy goes; nullptr: to standard output.
using Target = std::shared_ptr<const sys::PendingFile>;

Result<Target> target_of(const CommandLine& line, const Caller& caller) {
  const auto path = line.value(OptionId::learned_policy);
  if (!path) return nullptr;
  WEIR_TRY(const std::string absolute, absolute_path(*path, caller.folder));
  WEIR_TRY(sys::PendingFile file, in_context(sys::PendingFile::prepare(absolute), "option -o"));
  return std::make_shared<const sys::PendingFile>(std::move(file));
}

// What is left for standard output.
Result<std::string> write_policy(const Target& target, const Findings& findings) {
  policy::LearnedPolicy learned = policy::learn_policy(findings.used, findings.asked, findings.uncounted);
  if (!target) return std::move(learned.text);
  WEIR_CHECK_OK(target->write(as_bytes(learned.text)));
  return std::string();
}

Result<Outcome> learn_from(const std::vector<std::string>& files, const Target& target) {
  Findings findings;
  for (const std::string& file : files) WEIR_CHECK_OK(add_file(file, findings));
  Outcome outcome;
  WEIR_TRY(outcome.out, write_policy(target, findings));
  return outcome;
}

Result<Outcome> learn_by_running(const CommandLine& line, const Caller& caller, const Target& target) {
  WEIR_TRY(PolicyInput input, policy_input(line, caller));
  input.compile.session.mode = "open";
  input.compile.session.deny.emplace_back(kReadsFirstFlights);
  input.compile.purpose = policy::CompileInput::Purpose::running;
  WEIR_TRY(const policy::Compiled compiled, policy::compile_policy(input.compile));
  WEIR_CHECK_OK(check_runnable(compiled, line));
  WEIR_TRY(supervisor::RunOptions options, plan_run(line, caller, compiled));
  options.start_notices.emplace_back("learning: everything but the hard floor and --deny is open to this command");
  options.afterwards = [target](const audit::Tally& tally) {
    Findings findings;
    findings.add(tally);
    return write_policy(target, findings);
  };
  Outcome outcome;
  outcome.start = std::move(options);
  return outcome;
}

}  // namespace

Result<Outcome> learn_command(const CommandLine& line, const Caller& caller) {
  const std::vector<std::string> files = line.values(OptionId::from);
  const bool has_command = !line.operands.empty() || line.has(OptionId::image);
  if (has_command != files.empty()) {
    return std::unexpected(
        Error(has_command ? "policy learn: a command and --from ask for two things" : "policy learn: from what?")
            .with_remedy("write -- COMMAND, or --from FILE"));
  }
  WEIR_TRY(const Target target, target_of(line, caller));
  return has_command ? learn_by_running(line, caller, target) : learn_from(files, target);
}

}  // namespace weir::cli
