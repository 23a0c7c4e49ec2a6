// weir session wake: what a sleeping session left, checked against the machine of today, and started again.
#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/json.h"
#include "cli/command.h"
#include "cli/image_input.h"
#include "cli/policy_input.h"
#include "cli/run_files.h"
#include "cli/run_plan.h"
#include "cli/session/reach.h"
#include "cli/session/show.h"
#include "cli/snapshot_input.h"
#include "sandbox/root/tools.h"
#include "session/registry.h"
#include "supervisor/network/network.h"
#include "supervisor/session/sleep_plan.h"
#include "sys/files.h"
#include "wire/session_error.h"

namespace weir::cli {
namespace {

using supervisor::RunOptions;
using supervisor::SessionOptions;
using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxPolicy = std::size_t{1} << 30;

// Bytes as they were: what is loaded is checked as any compiled policy, and must be the one that the plan was written
// with.
Result<> load_policy(const session::OwnFolder& folder, RunOptions& run) {
  using supervisor::Network;
  const std::string path = folder.path_of(supervisor::kSleepPolicy);
  if (run.spec.network != sandbox::Network::captured && !run.spec.published) return {};
  WEIR_TRY(sys::OwnedFd memory, sys::copy_to_memory(path, "weir-policy", kMaxPolicy));
  WEIR_CHECK_OK(sys::seal(memory));
  run.policy_file = std::make_shared<const sys::OwnedFd>(std::move(memory));
  WEIR_TRY(const Network::Policy policy, Network::Policy::of(run.policy_file));
  WEIR_CHECK_OK(policy.image.check_sums());
  if (policy.image.hash() != run.policy_hash)
    return fail(path + " is not the policy that the session fell asleep with");
  const auto publishes = policy.image.publishes();
  const auto proxies = policy.image.egress_proxies();
  run.publishes.assign(publishes.begin(), publishes.end());
  run.egress_proxies.assign(proxies.begin(), proxies.end());
  for (const policy::DnsUpstream& each : policy.image.dns_upstreams()) run.dns_upstreams.push_back(each.endpoint);
  if (run.spec.published != !run.publishes.empty()) return fail(path + " publishes other ports");
  return {};
}

Result<> load_after(const session::OwnFolder& folder, RunOptions& run) {
  if (!run.after) return {};
  const std::string path = folder.path_of(supervisor::kSleepAfter);
  WEIR_TRY(const std::string bytes, sys::read_file(path, kMaxPolicy));
  WEIR_TRY(run.after, in_context(supervisor::after_of_image(as_bytes(bytes)), path));
  return {};
}

// What the guest itself could write into a share must not lead a share, a tool or a guarded file elsewhere.
Result<> check_same(const std::string& path, const std::string& what) {
  std::error_code error;
  const std::filesystem::path now = std::filesystem::canonical(path, error);
  if (!error && now == path) return {};
  return std::unexpected(
      Error(what + " " + path + (error ? ": " + error.message() : " leads to " + now.string() + " now"), error.value())
          .with_remedy("put back what was there when the session was made"));
}

Result<> check_files(const SessionOptions& options) {
  const sandbox::Spec& spec = options.run.spec;
  for (const sandbox::Share& share : spec.shares) WEIR_CHECK_OK(check_same(share.source, "the share"));
  if (!options.run.stage.entered_after) {
    for (const std::string& path : options.run.sensitive) WEIR_CHECK_OK(check_same(path, "the sensitive file"));
    WEIR_CHECK_OK(check_guarded(options.run));
  }
  constexpr const char* kRemedy = "put the folders back where they were when the session was made";
  WEIR_CHECK_OK(check_record_outside(options.run.snapshots_folder, spec.shares, kRemedy));
  if (options.run.events.kind == supervisor::EventsSink::Kind::file)
    WEIR_CHECK_OK(check_record_outside(options.run.events.path, spec.shares, kRemedy));
  WEIR_TRY(const std::vector<sandbox::Tool> tools, sandbox::resolve_tools(spec.tools));
  const bool same = std::ranges::equal(tools, options.tool_sources, {}, &sandbox::Tool::source);
  if (same) return {};
  return std::unexpected(Error("a tool of the session leads elsewhere now")
                             .with_remedy("put back what was there when the session was made"));
}

Result<> check_floor(const CommandLine& line, const Caller& caller, const RunOptions& run) {
  WEIR_TRY(const PolicyInput input, policy_input(line, caller));
  WEIR_TRY(const policy::Compiled today, policy::compile_policy(input.compile));
  if (today.floor_hash == run.floor_hash) return {};
  return std::unexpected(
      Error("the operator's floor is not the one that the session was made under")
          .with_remedy("begin another one with its files: weir session create --snapshot " + run.begun_from.id));
}

Result<> open_files(const Caller& caller, SessionOptions& options) {
  RunOptions& run = options.run;
  WEIR_TRY(const image::Snapshots store, image::Snapshots::open(run.snapshots_folder));
  const image::Snapshot::Base base = run.begun_from.base;
  WEIR_TRY(SnapshotChoice choice, choose_stored(store, options.slept->snapshot));
  const image::Snapshot& kept = choice.lease->snapshot();
  if (kept.session != run.spec.id || !(kept.base == base))
    return fail("snapshot " + kept.id + " is not what session " + run.spec.id + " fell asleep in");
  run.begun_from.layers = kept.layers;
  run.begun_from.taint = kept.taint;
  take_layers(choice, run);
  if (!choice.image) return {};
  WEIR_TRY(ImageChoice image, choose_image(*choice.image, caller, sandbox::Sharer{}));
  WEIR_CHECK_OK(check_base(choice, image));
  WEIR_TRY(run.spec.image, image_root(image));
  run.image = image.lease;
  return {};
}

// What lies in layers of its own counts.
Result<> take_disk(SessionOptions& options) {
  if (!options.slept->disk_bytes) return {};
  const auto& layers = options.run.begun_from.layers;
  if (layers.size() < options.layers_below) return fail("the session has lost layers");
  std::uint64_t own = 0;
  for (std::size_t i = 0; i + options.layers_below < layers.size(); ++i) own += layers[i].bytes;
  const std::uint64_t whole = *options.slept->disk_bytes;
  if (own >= whole) return fail("--disk is used up");
  options.run.spec.limits.disk_bytes = whole - own;
  return {};
}

Result<> check_time(SessionOptions& options) {
  const std::uint64_t end = options.slept->expires_at;
  if (end == 0) return {};
  const auto now = static_cast<std::uint64_t>(::time(nullptr));
  if (now >= end) return fail("its time is over", ENOENT);
  options.ttl = std::chrono::seconds(end - now);
  return {};
}

// `snapshot`: the one that it sleeps in, as soon as that is known.
Result<SessionOptions> plan_wake(const CommandLine& line, const Caller& caller, const session::OwnFolder& folder,
                                 std::string& snapshot) {
  WEIR_TRY(const std::string text, sys::read_file(folder.path_of(supervisor::kSleepPlan), supervisor::kMaxSleepPlan));
  WEIR_TRY(SessionOptions options, supervisor::parse_sleep_plan(text));
  RunOptions& run = options.run;
  if (run.spec.id != folder.id()) return fail("the folder holds another session");
  run.begun_from.id = snapshot = options.slept->snapshot;
  WEIR_CHECK_OK(check_time(options));
  WEIR_CHECK_OK(check_floor(line, caller, run));
  WEIR_CHECK_OK(load_policy(folder, run));
  WEIR_CHECK_OK(load_after(folder, run));
  WEIR_CHECK_OK(check_files(options));
  WEIR_CHECK_OK(open_files(caller, options));
  WEIR_CHECK_OK(take_disk(options));
  run.begun_from.id.clear();
  return options;
}

ErrorCode code_of(const Error& error) {
  return error.code() == EACCES || error.code() == EPERM ? ErrorCode::cannot_enforce : ErrorCode::unavailable;
}

Answer<SessionOptions> wake(const CommandLine& line, const Caller& caller, const session::Registry& registry,
                            const std::string& id) {
  WEIR_TRY(session::OwnFolder folder, registry.take_asleep(id));
  std::string snapshot;
  auto options = plan_wake(line, caller, folder, snapshot);
  if (!options) {
    const Error& why = options.error();
    std::string remedy = why.remedy();
    if (!snapshot.empty() && remedy.find(snapshot) == std::string::npos)
      remedy += (remedy.empty() ? "" : "; or ") + ("begin another one with its files: --snapshot " + snapshot);
    return refuse(code_of(why), "session " + id + " cannot be woken: " + why.what(), remedy);
  }
  const std::vector<std::string> needed = {
      supervisor::kSleepPlan, supervisor::kSleepPolicy, supervisor::kSleepAfter,
      std::filesystem::path(options->run.snapshot->snapshot().kept_by).filename().string()};
  folder.keep_only(needed);
  options->folder = std::make_shared<session::OwnFolder>(std::move(folder));
  return std::move(*options);
}

Outcome shown(const wire::SessionInfo& info, OutputFormat format) {
  JsonWriter json;
  wire::write_session(json, info);
  return {.out = (format == OutputFormat::json ? json.take() : info.id) + "\n", .err = {}, .start = {}};
}

}  // namespace

Result<Outcome> session_wake_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  WEIR_TRY(const session::Registry registry, session::Registry::open());
  auto found = registry.find(line.operands[0]);
  Answer<SessionOptions> options = refuse(ErrorCode::conflict, "");
  while (found && found->info.state == session::kAsleep) {
    options = wake(line, caller, registry, found->info.id);
    // Somebody else was faster.
    if (options || options.error().code != ErrorCode::conflict) break;
    found = registry.find(found->info.id);
  }
  if (found && found->info.state != session::kAsleep) return shown(found->info, format);
  if (!found) options = std::unexpected(found.error());
  Outcome outcome;
  if (options) {
    if (format == OutputFormat::json) options->report = SessionOptions::Report::json;
    outcome.session = std::move(*options);
    return outcome;
  }
  if (format == OutputFormat::text) return std::unexpected(error_of(options.error()));
  outcome.exit_code = supervisor::kExitOwnFailure;
  outcome.out = wire::error_line(options.error());
  return outcome;
}

}  // namespace weir::cli
