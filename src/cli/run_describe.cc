// --dry-run: what a plan looks like to a person and to a program.
#include "base/failure_line.h"
#include "base/json.h"
#include "base/quantity.h"
#include "cli/run_plan.h"

namespace weir::cli {
namespace {

std::string_view name_of(sandbox::Share::Access access) {
  switch (access) {
    case sandbox::Share::Access::read_write:
      return "rw";
    case sandbox::Share::Access::read_only:
      return "ro";
    case sandbox::Share::Access::copy:
      return "copy";
    case sandbox::Share::Access::overlay:
      return "overlay";
  }
  return "";
}

std::string events_text(const supervisor::EventsSink& events) {
  using Kind = supervisor::EventsSink::Kind;
  switch (events.kind) {
    case Kind::default_file:
      return "a file under the user's state folder";
    case Kind::file:
      return events.path;
    case Kind::standard_output:
      return "-";
    case Kind::none:
      return "none";
  }
  return "";
}

std::string row(std::string_view title, std::string_view text) {
  std::string out(title);
  out.append(out.size() < 13 ? 13 - out.size() : 1, ' ');
  return out + printable(text) + "\n";
}

std::string workdir_of(const sandbox::Spec& spec) {
  return spec.workdir.empty() ? spec.user.home : spec.workdir;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string share_text(const sandbox::Share& share) {
  std::string text = share.target + " from " + share.source + " (" + std::string(name_of(share.access)) + ")";
  if (!share.read_only_below.empty()) text += ", read-only below: " + joined(share.read_only_below);
  return text;
}

std::uint64_t milliseconds(std::chrono::milliseconds time) {
  return static_cast<std::uint64_t>(time.count());
}

}  // namespace

std::string plan_text(const supervisor::RunOptions& options, std::string_view policy) {
  const sandbox::Spec& spec = options.spec;
  std::string out = spec.script ? row("script", std::string(sandbox::kScriptFolder) + "/" + spec.script->name)
                                : row("command", joined(spec.argv));
  out += row("user", spec.user.name + " (" + std::to_string(spec.user.uid) + ")");
  out += row("starts in", workdir_of(spec));
  std::string names;
  for (const auto& [name, value] : spec.env) names += (names.empty() ? "" : " ") + name;
  out += row("environment", names);
  out += row("mount", "/ (private, writable, gone at the end)");
  out += row("mount", spec.image ? "image " + spec.image->name + ", below the private layer (never written)"
                                 : "/usr and what belongs to it, from the host (ro)");
  if (options.snapshot) {
    out +=
        row("mount", "snapshot " + options.snapshot->snapshot().id + " over it (" + std::to_string(spec.layers.size()) +
                         (spec.layers.size() == 1 ? " layer" : " layers") + ", never written)");
  }
  for (const sandbox::Share& share : spec.shares) out += row("mount", share_text(share));
  for (const std::string& path : options.sensitive) out += row("sensitive", path + " (its first open enters [after])");
  for (const std::string& tool : spec.tools) out += row("tool", tool + " (ro, on PATH)");
  if (options.timeout) {
    out += row("timeout", duration_text(milliseconds(*options.timeout)) + ", then " +
                              duration_text(milliseconds(options.grace)) + " to end by itself");
  }
  for (const sandbox::LimitLine& line : options.limit_lines) {
    out += row(line.limit, line.value + ", held by " + line.means);
  }
  out += row("events", events_text(options.events));
  for (const std::string& notice : options.start_notices) {
    // The policy prints its own.
    if (policy.find(notice) == std::string_view::npos) out += row("notice", notice);
  }
  return out + row("network", options.policy_mode) + "\n" + std::string(policy);
}

std::string plan_json(const supervisor::RunOptions& options, std::string_view policy) {
  const sandbox::Spec& spec = options.spec;
  JsonWriter json;
  json.begin_object().key("command").begin_array();
  for (const std::string& word : spec.argv) json.value(std::string_view(word));
  json.end_array();
  if (spec.script)
    json.field("script", std::string_view(std::string(sandbox::kScriptFolder) + "/" + spec.script->name));
  json.key("user").begin_object();
  json.field("name", std::string_view(spec.user.name)).field("uid", std::uint64_t{spec.user.uid}).end_object();
  if (spec.image) json.field("image", std::string_view(spec.image->name));
  if (options.snapshot) json.field("snapshot", std::string_view(options.snapshot->snapshot().id));
  json.field("workdir", std::string_view(workdir_of(spec))).key("environment").begin_array();
  for (const auto& [name, value] : spec.env) json.value(std::string_view(name));
  json.end_array().key("shares").begin_array();
  for (const sandbox::Share& share : spec.shares) {
    json.begin_object().field("source", std::string_view(share.source)).field("target", std::string_view(share.target));
    json.field("access", name_of(share.access)).key("read_only_below").begin_array();
    for (const std::string& path : share.read_only_below) json.value(std::string_view(path));
    json.end_array().end_object();
  }
  json.end_array().key("sensitive").begin_array();
  for (const std::string& path : options.sensitive) json.value(std::string_view(path));
  json.end_array().key("tools").begin_array();
  for (const std::string& tool : spec.tools) json.value(std::string_view(tool));
  json.end_array().key("timeout_ms");
  if (options.timeout) {
    json.value(milliseconds(*options.timeout));
  } else {
    json.null();
  }
  json.field("grace_ms", milliseconds(options.grace)).key("limits").begin_array();
  for (const sandbox::LimitLine& line : options.limit_lines) {
    json.begin_object().field("limit", std::string_view(line.limit)).field("value", std::string_view(line.value));
    json.field("held_by", std::string_view(line.means)).end_object();
  }
  json.end_array();
  json.field("events", std::string_view(events_text(options.events)));
  json.key("notices").begin_array();
  for (const std::string& notice : options.start_notices) json.value(std::string_view(notice));
  json.end_array().field("network", std::string_view(options.policy_mode));
  json.field("policy_hash", std::string_view(options.policy_hash)).end_object();
  // The policy is a finished object: it takes the place of the closing brace.
  std::string text = json.take();
  text.pop_back();
  return text + ",\"policy\":" + std::string(policy) + "}\n";
}

}  // namespace weir::cli
