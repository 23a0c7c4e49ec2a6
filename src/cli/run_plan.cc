#include "cli/run_plan.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "cli/environment.h"
#include "cli/image_input.h"
#include "cli/run_files.h"
#include "cli/run_limits.h"
#include "cli/snapshot_input.h"
#include "sandbox/root/tools.h"
#include "supervisor/record/audit_log.h"
#include "supervisor/sandbox_id.h"
#include "supervisor/state_folder.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

// Puts the parsed value of an option into `target`; leaves it alone when the option was not given.
template <class Target, class Parse>
Result<> take(const CommandLine& line, OptionId id, Target& target, Parse parse) {
  const std::optional<std::string> text = line.value(id);
  if (!text) return {};
  WEIR_TRY(target, parse(*text));
  return {};
}

Result<Variables> planned_environment(const CommandLine& line, const Caller& caller, const sandbox::Spec& spec,
                                      const std::vector<std::string>& image_variables,
                                      std::vector<std::string>& notices) {
  WEIR_TRY(const std::vector<VariableRequest> requests, variable_requests(line));
  const bool proxies = spec.network == sandbox::Network::captured && !line.has(OptionId::no_proxy_env);
  return guest_environment(caller, spec.user, proxies ? proxy_variables(spec.addresses.gateway4) : Variables{},
                           image_variables, requests, notices);
}

sandbox::Network network_of(policy::Mode mode) {
  switch (mode) {
    case policy::Mode::none:
    case policy::Mode::inbound:
      return sandbox::Network::loopback;
    case policy::Mode::host:
      return sandbox::Network::host;
    case policy::Mode::allowlist:
    case policy::Mode::publicly:
    case policy::Mode::semitrusted:
    case policy::Mode::open:
      return sandbox::Network::captured;
  }
  return sandbox::Network::loopback;
}

// What runs in an image: what it says, unless the command line says otherwise.
Result<> plan_entry(const image::Description& image, const std::string& text, supervisor::RunOptions& options) {
  const auto& entry = image.entrypoint;
  if (options.spec.argv.empty()) {
    options.spec.argv = entry;
    options.spec.argv.insert(options.spec.argv.end(), image.command.begin(), image.command.end());
  } else if (!entry.empty()) {
    options.start_notices.push_back("the image's entry point " + entry.front() + " is not put in front of the command");
  }
  if (options.spec.argv.empty()) {
    return std::unexpected(Error("option --image: '" + text + "' does not say what runs in it")
                               .with_remedy("write the command behind --: weir run --image " + text + " -- COMMAND"));
  }
  return {};
}

// --image: what the description of an OCI image says counts unless the command line says otherwise.
// `below`: what the snapshot lies on.
Result<image::Description> plan_image(const CommandLine& line, const Caller& caller, const SnapshotChoice& below,
                                      supervisor::RunOptions& options) {
  const std::optional<std::string> text = below.image ? below.image : line.value(OptionId::image);
  if (!text) {
    plan_snapshots_of_session(caller, below, std::nullopt, options);
    return image::Description{};
  }
  WEIR_TRY(ImageChoice choice, choose_image(*text, caller, sharer_of(line, caller)));
  WEIR_CHECK_OK(check_base(below, choice));
  if (!line.has(OptionId::dry_run)) WEIR_CHECK_OK(unpack_for_run(choice, caller));
  std::ranges::move(choice.leftovers, std::back_inserter(options.start_notices));
  WEIR_TRY(options.spec.image, image_root(choice));
  plan_snapshots_of_session(caller, below, choice, options);
  options.image = choice.lease;
  image::Description image = choice.description().value_or(image::Description{});
  options.spec.workdir = image.workdir;
  if (!options.spec.lives_on) WEIR_CHECK_OK(plan_entry(image, *text, options));
  if (!image.user.empty() && image.user != "0" && image.user != "root" && !line.has(OptionId::user)) {
    options.start_notices.push_back("the image asks for user " + image.user + ", the command runs as " +
                                    options.spec.user.name + " (" + std::to_string(options.spec.user.uid) +
                                    "); --user changes that");
  }
  if (choice.kind == ImageChoice::Kind::archive) {
    for (std::string& remark : image::remarks(image)) options.start_notices.push_back(std::move(remark));
  }
  return image;
}

Result<> plan_spec(const CommandLine& line, const Caller& caller, policy::Mode mode, supervisor::RunOptions& options) {
  sandbox::Spec& spec = options.spec;
  WEIR_TRY(spec.id, supervisor::new_sandbox_id());
  spec.argv = line.operands;
  spec.network = network_of(mode);
  if (const auto subnet = line.value(OptionId::subnet)) {
    WEIR_TRY(const net::Cidr chosen, parse_subnet(*subnet));
    spec.addresses = sandbox::CaptureAddresses::in(chosen);
  } else {
    spec.addresses = sandbox::CaptureAddresses::defaults();
  }
  spec.terminal = line.has(OptionId::terminal);
  spec.lives_on = line.command == CommandId::session_create;
  WEIR_CHECK_OK(take(line, OptionId::user, spec.user, parse_user));
  WEIR_TRY(SnapshotChoice snapshot, choose_snapshot(line, caller));
  WEIR_CHECK_OK(plan_snapshot(line, snapshot, policy::name_of(mode), options));
  WEIR_TRY(const image::Description image, plan_image(line, caller, snapshot, options));
  WEIR_TRY(spec.env, planned_environment(line, caller, spec, image.env, options.start_notices));
  return plan_files(line, caller, spec);
}

constexpr int kMaxLinks = 40;  // the kernel's own bound, path_resolution(7)

// Compares files, not spellings: the same folder may be mounted twice.
bool lies_in(std::filesystem::path path, const std::filesystem::path& folder) {
  while (true) {
    std::error_code missing;
    if (path == folder || std::filesystem::equivalent(path, folder, missing)) return true;
    if (!path.has_relative_path()) return false;
    path = path.parent_path();
  }
}

Result<> check_events(const supervisor::EventsSink& events, const std::vector<sandbox::Share>& shares) {
  using Kind = supervisor::EventsSink::Kind;
  constexpr const char* kRemedy = "put it outside with --events FILE, or share with :ro or :overlay";
  if (events.kind == Kind::file) return check_record_outside(events.path, shares, kRemedy);
  if (events.kind != Kind::default_file) return {};
  const Result<std::string> folder = supervisor::default_events_folder();
  // Without a folder there is no record to rewrite: the run itself refuses to start, and says so.
  return folder ? check_record_outside(*folder, shares, kRemedy) : Result<>();
}

// --keep-changes
Result<> plan_keeping(const CommandLine& line, const Caller& caller, supervisor::RunOptions& options) {
  if (!line.has(OptionId::keep_changes)) return {};
  const auto& shares = options.spec.shares;
  if (std::ranges::none_of(
          shares, [](const sandbox::Share& share) { return share.access == sandbox::Share::Access::overlay; })) {
    return std::unexpected(Error("option --keep-changes: nothing is shared as an overlay")
                               .with_remedy("write --here=overlay, or -v SRC:DST:overlay"));
  }
  WEIR_TRY(options.changes_folder, supervisor::changes_folder());
  WEIR_CHECK_OK(check_record_outside(options.changes_folder, shares, "share it with :ro or :overlay"));
  options.called_in = caller.folder;
  options.spec.shows_layers = true;
  return {};
}

// The command must not read what weir says to an upstream proxy.
Result<> check_credentials(std::span<const policy::EgressProxy> proxies, const sandbox::Spec& spec) {
  using In = policy::EgressProxy::CredentialsIn;
  for (const policy::EgressProxy& proxy : proxies) {
    const bool given = std::ranges::any_of(spec.env, [&](const auto& each) { return each.first == proxy.credentials; });
    if (proxy.credentials_in == In::variable && given) {
      return std::unexpected(
          Error("the command would have the credentials of the upstream proxy: -e gives it " + proxy.credentials)
              .with_remedy("leave that variable out, or keep the credentials in a file"));
    }
    if (proxy.credentials_in != In::file) continue;
    std::error_code error;
    const std::filesystem::path file = std::filesystem::canonical(proxy.credentials, error);
    if (error)
      return fail("cannot find the credentials of the upstream proxy in " + proxy.credentials + ": " + error.message());
    const auto readable_in = [&](const std::string& what) {
      return std::unexpected(Error("the command could read the credentials of the upstream proxy: " +
                                   proxy.credentials + " lies in " + what)
                                 .with_remedy("keep that file outside of what is shared"));
    };
    for (const sandbox::Share& share : spec.shares) {
      if (lies_in(file, share.source)) return readable_in("the share " + share.source);
    }
    WEIR_TRY(const auto tools, sandbox::resolve_tools(spec.tools));
    for (const sandbox::Tool& tool : tools) {
      if (lies_in(file, tool.source)) return readable_in("the tool " + tool.source);
    }
    if (lies_in(file, "/usr")) return readable_in("/usr");
  }
  return {};
}

// What runs inside could speak to the socket wherever it sees it, read-only or not.
Result<> check_socket_outside(const std::string& what, const std::string& path,
                              const std::vector<sandbox::Share>& shares, const char* remedy) {
  std::error_code error;
  const auto folder = std::filesystem::weakly_canonical(std::filesystem::path(path).parent_path(), error);
  if (error) return fail("cannot resolve " + path + ": " + error.message(), error.value());
  for (const sandbox::Share& share : shares) {
    if (!lies_in(folder, share.source)) continue;
    return std::unexpected(
        Error(what + ": the command could use the socket itself: " + path + " lies in the share " + share.source)
            .with_remedy(remedy));
  }
  return {};
}

Result<> plan_after(const policy::Compiled& policy, supervisor::RunOptions& options) {
  if (!policy.after) return {};
  if (options.spec.network != sandbox::Network::captured && !options.spec.published) {
    return std::unexpected(Error("[after]: mode " + std::string(policy::name_of(policy.mode)) +
                                 " without published ports has nothing that could be taken away")
                               .with_remedy("leave [after] or --after out"));
  }
  WEIR_TRY(const std::string socket, supervisor::seal_socket_of(options.spec.id));
  WEIR_CHECK_OK(check_socket_outside("weir seal", socket, options.spec.shares, "share a folder without weir's state"));
  options.after = policy.after;
  // What lives on has no command that could hold a descriptor for it.
  options.spec.seals = !options.spec.lives_on;
  return {};
}

Result<std::string> sensitive_path(const std::string& text, const Caller& caller,
                                   const std::vector<sandbox::Share>& shares) {
  WEIR_TRY(const std::string whole, absolute_path(text, caller.folder));
  std::error_code error;
  const std::filesystem::path path = std::filesystem::canonical(whole, error);
  if (error) return fail(text + ": " + error.message(), error.value());
  bool shared = false;
  for (const sandbox::Share& share : shares) {
    shared = shared || lies_in(path, share.source);
    if (share.access != sandbox::Share::Access::copy) continue;
    // Perhaps by another name of the file.
    return std::unexpected(
        Error(text + " could be copied into the share " + share.target + ", where no open of it can be seen")
            .with_remedy("share with :ro or :overlay instead of :copy"));
  }
  if (shared) return path.string();
  return std::unexpected(
      Error(text + " lies in no share").with_remedy("share it, such as with -v " + text + ":/data:ro"));
}

Result<> plan_sensitive(const CommandLine& line, const Caller& caller, supervisor::RunOptions& options) {
  const std::vector<std::string> paths = line.values(OptionId::sensitive);
  if (!paths.empty() && !options.after) {
    return std::unexpected(Error("option --sensitive: the policy has no [after] that an open could enter")
                               .with_remedy("add --after none, or an [after] section"));
  }
  for (const std::string& path : paths) {
    WEIR_TRY(options.sensitive.emplace_back(),
             in_context(sensitive_path(path, caller, options.spec.shares), "option --sensitive"));
  }
  return {};
}

Result<> plan_control(const CommandLine& line, const Caller& caller, supervisor::RunOptions& options) {
  const auto path = [&](std::string_view text) { return absolute_path(text, caller.folder); };
  WEIR_CHECK_OK(in_context(take(line, OptionId::control, options.control_path, path), "option --control"));
  if (options.control_path.empty()) return {};
  if (options.spec.network != sandbox::Network::captured && !options.spec.published) {
    return std::unexpected(Error("option --control: mode " + options.policy_mode + " has no gateway to narrow")
                               .with_remedy("leave --control out"));
  }
  return check_socket_outside("option --control", options.control_path, options.spec.shares, "put it elsewhere");
}

}  // namespace

// The command must not rewrite what is recorded about it. Every name on the way to the file matters: who may write the
// folder of a link can replace the link. A link that leads to nothing yet counts too: opening makes the file.
Result<> check_record_outside(const std::string& record, const std::vector<sandbox::Share>& shares,
                              const std::string& remedy) {
  std::error_code error;
  std::filesystem::path name = record;
  for (int links = 0; links <= kMaxLinks; ++links) {
    const std::filesystem::path folder = std::filesystem::weakly_canonical(name.parent_path(), error);
    if (error) break;
    name = folder / name.filename();
    for (const sandbox::Share& share : shares) {
      if (share.access != sandbox::Share::Access::read_write || !lies_in(name, share.source)) continue;
      return std::unexpected(
          Error("the command could rewrite its own record: " + record + " lies in the share " + share.source)
              .with_remedy(remedy));
    }
    std::error_code absent;
    if (!std::filesystem::is_symlink(name, absent)) return {};
    const std::filesystem::path next = std::filesystem::read_symlink(name, error);
    if (error) break;
    name = folder / next;
  }
  return fail("cannot resolve " + record + ": " + (error ? error.message() : "too many links"), error.value());
}

Result<> check_guarded(const supervisor::RunOptions& run) {
  for (const std::string& path : run.sensitive) {
    for (const sandbox::Share& share : run.spec.shares) {
      if (share.access != sandbox::Share::Access::read_write) continue;
      if (!lies_in(path, share.source) && !lies_in(share.source, path)) continue;
      return std::unexpected(Error("option --sensitive: " + path + " could be moved away in the share " + share.source +
                                   ", and would not be guarded when the session wakes")
                                 .with_remedy("share with :ro or :overlay, or write --on-idle stop"));
    }
  }
  return {};
}

Result<supervisor::RunOptions> plan_run(const CommandLine& line, const Caller& caller, const policy::Compiled& policy) {
  supervisor::RunOptions options;
  options.start_notices = policy.notices;
  std::ranges::copy(policy.warnings, std::back_inserter(options.start_notices));
  WEIR_CHECK_OK(plan_spec(line, caller, policy.mode, options));
  WEIR_CHECK_OK(check_credentials(policy.source.egress_proxies, options.spec));
  options.publishes = policy.source.publishes;
  options.egress_proxies = policy.source.egress_proxies;
  options.spec.published = !options.publishes.empty();
  WEIR_CHECK_OK(plan_after(policy, options));
  WEIR_CHECK_OK(plan_sensitive(line, caller, options));
  if (options.spec.network == sandbox::Network::captured || options.spec.published) options.policy_image = policy.image;
  options.policy_hash = policy.hash;
  options.policy_mode = std::string(policy::name_of(policy.mode));
  options.floor_hash = policy.floor_hash;
  options.dns_upstreams = policy.upstreams;
  options.name = options.spec.id;
  WEIR_CHECK_OK(take(line, OptionId::name, options.name, parse_name));
  const auto events = [&](std::string_view text) { return parse_events(text, caller.folder); };
  WEIR_CHECK_OK(take(line, OptionId::events, options.events, events));
  WEIR_CHECK_OK(check_events(options.events, options.spec.shares));
  WEIR_CHECK_OK(plan_control(line, caller, options));
  const auto receipt = [&](std::string_view text) {
    return in_context(absolute_path(text, caller.folder), "option --receipt");
  };
  WEIR_CHECK_OK(take(line, OptionId::receipt, options.receipt, receipt));
  options.spec.shows_layers = !options.receipt.empty();
  WEIR_CHECK_OK(plan_keeping(line, caller, options));
  WEIR_CHECK_OK(plan_limits(line, options));
  WEIR_TRY(const OutputFormat format, output_format(line));
  options.summary = format == OutputFormat::json ? supervisor::SummaryFormat::json : supervisor::SummaryFormat::text;
  if (line.has(OptionId::quiet)) options.verbosity = supervisor::Verbosity::quiet;
  if (line.has(OptionId::debug)) options.verbosity = supervisor::Verbosity::debug;
  return options;
}

}  // namespace weir::cli
