#include <vector>

#include "base/failure_line.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/doctor/probe.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

struct Finding {
  const Probe* probe = nullptr;
  std::string_view group;
  bool tried = true;
  Result<std::string> result;
};

std::vector<Finding> find_all() {
  std::vector<Finding> findings;
  for (const ProbeGroup& group : all_probes()) {
    for (const Probe& probe : group.probes) {
      Finding finding{.probe = &probe, .group = group.title, .result = fail("not tried: needs a user namespace")};
      finding.tried = probe.footing == Footing::plain || findings.front().result;
      if (finding.tried) finding.result = sys::in_throwaway_child(probe.run);
      if (finding.tried && !finding.result) {
        finding.result = std::unexpected(explain_refusal(std::move(finding.result).error()));
      }
      findings.push_back(std::move(finding));
    }
  }
  return findings;
}

bool is_needed(const Probe& probe) {
  return probe.need == Need::every_run || probe.need == Need::gateway;
}

std::string_view state_of(const Finding& finding) {
  if (finding.result) return "ok";
  if (!finding.tried) return "untried";
  return is_needed(*finding.probe) ? "missing" : "limited";
}

std::string_view shown_state(const Finding& finding) {
  // In capitals where it stops somebody: the eye finds it.
  if (!finding.result && is_needed(*finding.probe)) return "MISSING";
  return finding.tried ? state_of(finding) : "limited";
}

std::string_view name_of(Need need) {
  switch (need) {
    case Need::every_run:
      return "every run";
    case Need::gateway:
      return "gateway";
    case Need::feature:
      return "feature";
    case Need::improvement:
      return "improvement";
  }
  return "";
}

std::string padded(std::string_view text, std::size_t width) {
  return std::string(text) + std::string(width - std::min(width, text.size()), ' ');
}

std::string as_text(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    out += padded(shown_state(finding), 9) + padded(finding.probe->control, 21);
    if (finding.result) {
      out += printable(*finding.result);
    } else {
      out += printable(finding.result.error().what());
      if (!finding.result.error().remedy().empty()) out += "; fix: " + printable(finding.result.error().remedy());
    }
    out += '\n';
  }
  for (const Setting& setting : all_settings()) {
    out += padded("setting", 9) + std::string(setting.path) + " = " + printable(read_setting(setting.path)) + " (" +
           std::string(setting.meaning) + ")\n";
  }
  return out;
}

std::string as_json(const std::vector<Finding>& findings, bool all_hold) {
  JsonWriter json;
  json.begin_object().field("v", std::uint64_t{1}).field("ok", all_hold).key("controls").begin_array();
  for (const Finding& finding : findings) {
    json.begin_object()
        .field("control", finding.probe->control)
        .field("group", finding.group)
        .field("needed_for", name_of(finding.probe->need))
        .field("state", state_of(finding))
        .field("ok", finding.result.has_value())
        .field("detail", std::string_view(finding.result ? *finding.result : finding.result.error().what()))
        .field("fix", std::string_view(finding.result ? "" : finding.result.error().remedy()))
        .end_object();
  }
  json.end_array().key("settings").begin_object();
  for (const Setting& setting : all_settings()) {
    json.field(setting.path, std::string_view(read_setting(setting.path)));
  }
  json.end_object().end_object();
  return json.take() + "\n";
}

}  // namespace

Result<Outcome> doctor_command(const CommandLine& line) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  const std::vector<Finding> findings = find_all();
  bool all_hold = true;
  for (const Finding& finding : findings) all_hold = all_hold && (finding.result || !is_needed(*finding.probe));
  Outcome outcome;
  outcome.exit_code = all_hold ? 0 : 1;
  outcome.out = format == OutputFormat::json ? as_json(findings, all_hold) : as_text(findings);
  return outcome;
}

}  // namespace weir::cli
