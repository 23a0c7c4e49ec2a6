#include "cli/run_plan.h"

#include <algorithm>
#include <iterator>

#include "cli/environment.h"
#include "cli/run_files.h"
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

Result<Variables> planned_environment(const CommandLine& line, const Caller& caller, const sandbox::User& user,
                                      std::vector<std::string>& notices) {
  std::vector<VariableRequest> requests;
  // Files first, as docker has it: what stands on the command line wins.
  for (const std::string& file : line.values(OptionId::env_file)) {
    Result<std::string> text = sys::read_file(file, kMaxEnvFileBytes);
    if (!text) return std::unexpected(std::move(text).error().context("option --env-file"));
    WEIR_TRY(std::vector<VariableRequest> read, parse_env_file(*text, file));
    std::ranges::move(read, std::back_inserter(requests));
  }
  for (const std::string& variable : line.values(OptionId::env)) {
    Result<VariableRequest> request = parse_variable(variable);
    if (!request) return std::unexpected(std::move(request).error().context("option -e"));
    requests.push_back(std::move(*request));
  }
  return guest_environment(caller, user, requests, notices);
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

Result<sandbox::Spec> planned_spec(const CommandLine& line, const Caller& caller, policy::Mode mode,
                                   std::vector<std::string>& notices) {
  sandbox::Spec spec;
  WEIR_TRY(spec.id, new_sandbox_id());
  spec.argv = line.operands;
  spec.network = network_of(mode);
  spec.addresses = sandbox::CaptureAddresses::defaults();
  spec.terminal = line.has(OptionId::terminal);
  WEIR_CHECK_OK(take(line, OptionId::user, spec.user, parse_user));
  WEIR_TRY(spec.env, planned_environment(line, caller, spec.user, notices));
  WEIR_CHECK_OK(plan_files(line, caller, spec));
  return spec;
}

}  // namespace

Result<supervisor::RunOptions> plan_run(const CommandLine& line, const Caller& caller, const policy::Compiled& policy) {
  supervisor::RunOptions options;
  options.start_notices = policy.notices;
  std::ranges::copy(policy.warnings, std::back_inserter(options.start_notices));
  WEIR_TRY(options.spec, planned_spec(line, caller, policy.mode, options.start_notices));
  if (options.spec.network == sandbox::Network::captured) options.policy_image = policy.image;
  options.policy_hash = policy.hash;
  options.policy_mode = std::string(policy::name_of(policy.mode));
  options.floor_hash = policy.floor_hash;
  options.dns_upstreams = policy.upstreams;
  options.name = options.spec.id;
  WEIR_CHECK_OK(take(line, OptionId::name, options.name, parse_name));
  const auto events = [&](std::string_view text) { return parse_events(text, caller.folder); };
  WEIR_CHECK_OK(take(line, OptionId::events, options.events, events));
  WEIR_CHECK_OK(take(line, OptionId::timeout, options.timeout, parse_timeout));
  WEIR_TRY(const OutputFormat format, output_format(line));
  options.summary = format == OutputFormat::json ? supervisor::SummaryFormat::json : supervisor::SummaryFormat::text;
  if (line.has(OptionId::quiet)) options.verbosity = supervisor::Verbosity::quiet;
  if (line.has(OptionId::debug)) options.verbosity = supervisor::Verbosity::debug;
  return options;
}

}  // namespace weir::cli
