#include <array>
#include <vector>

#include "base/failure_line.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/doctor/probe.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

constexpr std::array kProbes = {
    Probe{"user namespace", Need::every_run, Footing::plain, probe_user_namespace},
    Probe{"pid namespace", Need::every_run, Footing::user_namespace, probe_pid_namespace},
    Probe{"other namespaces", Need::every_run, Footing::user_namespace, probe_small_namespaces},
    Probe{"network namespace", Need::every_run, Footing::user_namespace, probe_loopback},
    Probe{"private root", Need::every_run, Footing::user_namespace, probe_private_root},
    Probe{"no_new_privs", Need::every_run, Footing::plain, probe_no_new_privs},
    Probe{"seccomp", Need::every_run, Footing::plain, probe_seccomp},
    Probe{"pidfd", Need::every_run, Footing::plain, probe_pidfd},
    Probe{"sealed memory", Need::gateway, Footing::plain, probe_memfd_seals},
    Probe{"TUN device", Need::gateway, Footing::user_namespace, probe_tun},
    Probe{"capture IPv4", Need::gateway, Footing::user_namespace, probe_detour4},
    Probe{"capture IPv6", Need::gateway, Footing::user_namespace, probe_detour6},
    Probe{"truthful refusal", Need::gateway, Footing::user_namespace, probe_refusal},
    Probe{"overlay shares", Need::feature, Footing::user_namespace, probe_overlay},
    Probe{"shares as root", Need::feature, Footing::plain, probe_idmapped_mount},
    Probe{"--memory", Need::feature, Footing::plain, probe_limit_memory},
    Probe{"--cpus", Need::feature, Footing::plain, probe_limit_cpus},
    Probe{"--pids", Need::feature, Footing::plain, probe_limit_pids},
    Probe{"--disk", Need::feature, Footing::plain, probe_limit_disk},
    Probe{"IPv6 outside", Need::feature, Footing::plain, probe_host_ipv6},
};

struct Finding {
  const Probe* probe = nullptr;
  Result<std::string> result;
};

std::vector<Finding> find_all() {
  std::vector<Finding> findings;
  for (const Probe& probe : all_probes()) {
    const bool no_ground = probe.footing == Footing::user_namespace && !findings.front().result;
    Result<std::string> result =
        no_ground ? fail("not tried: needs a user namespace") : sys::in_throwaway_child(probe.run);
    if (!result && !no_ground) result = std::unexpected(explain_refusal(std::move(result).error()));
    findings.push_back({&probe, std::move(result)});
  }
  return findings;
}

bool is_needed(const Probe& probe) {
  return probe.need != Need::feature;
}

std::string_view state_of(const Finding& finding) {
  if (finding.result) return "ok";
  return is_needed(*finding.probe) ? "MISSING" : "limited";
}

std::string_view name_of(Need need) {
  switch (need) {
    case Need::every_run:
      return "every run";
    case Need::gateway:
      return "gateway";
    case Need::feature:
      return "feature";
  }
  return "";
}

std::string padded(std::string_view text, std::size_t width) {
  return std::string(text) + std::string(width - std::min(width, text.size()), ' ');
}

std::string as_text(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    out += padded(state_of(finding), 9) + padded(finding.probe->control, 19);
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
  json.begin_object().field("ok", all_hold).key("controls").begin_array();
  for (const Finding& finding : findings) {
    json.begin_object()
        .field("control", finding.probe->control)
        .field("needed_for", name_of(finding.probe->need))
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

std::span<const Probe> all_probes() {
  return kProbes;
}

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
