#include <sys/stat.h>

#include "base/failure_line.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/policy_input.h"
#include "dial/live_facts.h"
#include "policy/text/cases.h"
#include "policy/text/explain.h"
#include "policy/text/lint.h"
#include "policy/text/narrow.h"
#include "policy/text/sets.h"
#include "policy/text/show.h"
#include "sandbox/network/capture.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

// What a compiled policy is judged with: its image, and the machine as it is now.
struct Judge {
  policy::Compiled compiled;
  policy::HostFacts facts;

  Result<policy::Image> image() const {
    if (compiled.mode == policy::Mode::host) {
      return std::unexpected(Error("mode host has no gateway, so nothing is judged in it")
                                 .with_remedy("every connection is the machine's own"));
    }
    return policy::Image::open(compiled.image);
  }
};

Result<Judge> judge_of(const policy::CompileInput& input) {
  WEIR_TRY(policy::Compiled compiled, policy::compile_policy(input));
  const auto inside = sandbox::CaptureAddresses::defaults();
  std::vector<net::Cidr> sandboxes = {net::Cidr::of(inside.guest4, 30), net::Cidr::of(inside.guest6, 126)};
  WEIR_TRY(dial::LiveFacts live, dial::LiveFacts::open(std::move(sandboxes)));
  WEIR_TRY(const policy::HostFacts* const facts, live.current());
  return Judge{.compiled = std::move(compiled), .facts = *facts};
}

// Notices and warnings go to the stream for people; scripts read the other one.
std::string said(const policy::Compiled& compiled) {
  std::string text;
  for (const auto* lines : {&compiled.notices, &compiled.warnings}) {
    for (const std::string& line : *lines) text += "weir: " + printable(line) + "\n";
  }
  return text;
}

std::string finding_text(const policy::LintFinding& finding) {
  return printable(finding.place + ": warning: " + finding.message + " [" + finding.code + "]") + "\n";
}

std::string check_json(const std::vector<policy::LintFinding>& findings) {
  JsonWriter json;
  json.begin_object().field("ok", true).key("warnings").begin_array();
  for (const policy::LintFinding& finding : findings) {
    json.begin_object()
        .field("place", std::string_view(finding.place))
        .field("code", std::string_view(finding.code))
        .field("message", std::string_view(finding.message))
        .end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

std::string rejected_json(const Error& error) {
  JsonWriter json;
  json.begin_object()
      .field("ok", false)
      .field("error", std::string_view(error.what()))
      .field("remedy", std::string_view(error.remedy()))
      .end_object();
  return json.take() + "\n";
}

Result<Outcome> check(const CommandLine& line, const Caller& caller, OutputFormat format) {
  WEIR_TRY(const PolicyInput input, policy_input_of_file(line.operands[0], line, caller));
  const Result<policy::Compiled> compiled = policy::compile_policy(input.compile);
  Outcome outcome;
  if (!compiled) {
    // Not weir's failure: saying so is what the command is for.
    outcome.exit_code = 1;
    if (format == OutputFormat::json) outcome.out = rejected_json(compiled.error());
    if (format == OutputFormat::text) outcome.err = failure_line(compiled.error());
    return outcome;
  }
  const std::vector<policy::LintFinding> findings = policy::lint(*compiled);
  if (format == OutputFormat::json) {
    outcome.out = check_json(findings);
    return outcome;
  }
  for (const policy::LintFinding& finding : findings) outcome.out += finding_text(finding);
  outcome.out += printable(line.operands[0]) + ": usable, " + std::to_string(findings.size()) +
                 (findings.size() == 1 ? " warning\n" : " warnings\n");
  return outcome;
}

Result<Outcome> explain(const CommandLine& line, const Caller& caller, OutputFormat format) {
  WEIR_TRY(const policy::ExplainRequest request, policy::parse_explain_request(line.operands[0]));
  WEIR_TRY(const PolicyInput input, policy_input(line, caller));
  WEIR_TRY(const Judge judge, judge_of(input.compile));
  WEIR_TRY(const policy::Image image, judge.image());
  const policy::Explanation explanation = policy::explain(image, judge.facts, request);
  const bool json = format == OutputFormat::json;
  Outcome outcome;
  outcome.out = json ? policy::explanation_json(explanation) : policy::explanation_text(explanation);
  if (judge.compiled.after) {
    WEIR_TRY(const policy::Narrowed narrowed, policy::put_inside(image, *judge.compiled.after));
    WEIR_TRY(const policy::Image after, policy::Image::open(narrowed.image));
    const policy::Explanation then = policy::explain(after, judge.facts, request);
    if (json) outcome.out.pop_back();
    outcome.out += json ? ",\"after\":" + policy::explanation_json(then) + "}"
                        : "once its [after] is entered: " + policy::explanation_text(then);
  }
  if (json) outcome.out += "\n";
  outcome.err = said(judge.compiled);
  return outcome;
}

Result<Outcome> show(const CommandLine& line, const Caller& caller, OutputFormat format) {
  WEIR_TRY(const PolicyInput input, policy_input(line, caller));
  WEIR_TRY(const policy::Compiled compiled, policy::compile_policy(input.compile));
  Outcome outcome;
  outcome.out = format == OutputFormat::json ? policy::show_json(compiled) + "\n" : policy::show_text(compiled);
  outcome.err = said(compiled);
  return outcome;
}

Result<Outcome> test(const CommandLine& line, const Caller& caller, OutputFormat format) {
  WEIR_TRY(const PolicyInput input, policy_input_of_file(line.operands[0], line, caller));
  WEIR_TRY(const policy::TextFile file, read_text_file(line.operands[1]));
  WEIR_TRY(const std::vector<policy::PolicyCase> cases, policy::parse_cases(file.text, file.name));
  WEIR_TRY(const Judge judge, judge_of(input.compile));
  WEIR_TRY(const policy::Image image, judge.image());
  const std::vector<policy::CaseFailure> failures = policy::run_cases(image, judge.facts, cases);
  Outcome outcome;
  outcome.exit_code = failures.empty() ? 0 : 1;
  if (format == OutputFormat::json) {
    outcome.out = policy::failures_json(failures) + "\n";
    return outcome;
  }
  outcome.out = policy::failures_text(failures, file.name);
  outcome.out += std::to_string(cases.size() - failures.size()) + " of " + std::to_string(cases.size()) + " hold\n";
  return outcome;
}

// Overwriting a policy file with its own image would be a mistake that cannot be undone.
Result<> check_replaceable(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  if (sys::begins_with(path, as_bytes(policy::Image::kFamily))) return {};
  return std::unexpected(
      Error(path + ": is there already, and is no compiled policy").with_remedy("name another file"));
}

std::string compiled_text(const std::string& path, const policy::Compiled& compiled) {
  std::size_t entries = 0;
  std::size_t lists = 0;
  std::size_t names = 0;
  for (const policy::Entry& entry : compiled.source.layers.front().entries) {
    ++(entry.listed ? lists : entries);
    names += entry.listed.value_or(0);
  }
  std::string text = printable(path) + ": policy " + compiled.hash + ", " + std::to_string(compiled.image.size()) +
                     " bytes, " + std::to_string(entries) + (entries == 1 ? " entry" : " entries");
  if (lists != 0) {
    text += ", " + std::to_string(names) + " names in " + std::to_string(lists) + (lists == 1 ? " list" : " lists");
  }
  return text + "\n";
}

// Without the floor: that of the machine comes on top wherever the image is used.
Result<Outcome> compile(const CommandLine& line, const Caller& caller) {
  const std::optional<std::string> path = line.value(OptionId::compiled_policy);
  if (!path || path->empty()) {
    return std::unexpected(Error("policy compile: where to?").with_remedy("add -o IMAGE"));
  }
  WEIR_TRY(PolicyInput input, policy_input(line, caller));
  input.compile.floor.reset();
  WEIR_TRY(const policy::Compiled compiled, policy::compile_policy(input.compile));
  if (compiled.mode == policy::Mode::host) {
    return std::unexpected(Error("mode host has no gateway, so there is nothing to compile")
                               .with_remedy("write --net host --i-trust-this-code where it is used"));
  }
  if (compiled.after) {
    return std::unexpected(Error("an [after] section cannot be compiled")
                               .with_remedy("leave it out, and write --after MODE where the image is used"));
  }
  WEIR_CHECK_OK(check_replaceable(*path));
  WEIR_CHECK_OK(sys::replace_file(*path, compiled.image));
  Outcome outcome;
  outcome.out = compiled_text(*path, compiled);
  outcome.err = said(compiled);
  return outcome;
}

Result<Outcome> sets(const CommandLine& line, OutputFormat format) {
  Outcome outcome;
  const bool json = format == OutputFormat::json;
  if (line.operands.empty()) {
    outcome.out = json ? policy::sets_json() + "\n" : policy::sets_text();
    return outcome;
  }
  WEIR_TRY(const policy::HostSet* const set, policy::require_host_set(line.operands[0]));
  outcome.out = json ? policy::set_json(*set) + "\n" : policy::set_text(*set);
  return outcome;
}

}  // namespace

Result<Outcome> policy_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  const CommandId command = line.command;
  if (command == CommandId::policy_compile) return compile(line, caller);
  if (command == CommandId::policy_check) return check(line, caller, format);
  if (command == CommandId::policy_explain) return explain(line, caller, format);
  if (command == CommandId::policy_show) return show(line, caller, format);
  if (command == CommandId::policy_test) return test(line, caller, format);
  if (command == CommandId::policy_sets) return sets(line, format);
  return fail("weir policy: not a command about policies");
}

}  // namespace weir::cli
