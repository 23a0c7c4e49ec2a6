// weir session create: the options of weir run, and those of what lives on.
#include <algorithm>
#include <cerrno>

#include "base/quantity.h"
#include "cli/command.h"
#include "cli/policy_input.h"
#include "cli/run_plan.h"
#include "cli/snapshot_input.h"
#include "sandbox/root/tools.h"
#include "session/registry.h"
#include "supervisor/session/sleep_plan.h"
#include "sys/files.h"
#include "wire/labels.h"
#include "wire/session_error.h"

namespace weir::cli {
namespace {

using supervisor::SessionOptions;
using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

Result<std::optional<std::chrono::milliseconds>> time_of(const CommandLine& line, OptionId id) {
  const auto text = line.value(id);
  if (!text) return std::nullopt;
  const std::string option = "option --" + std::string(spec_of(id).name);
  WEIR_TRY(const std::uint64_t time, in_context(parse_duration_ms(*text), option));
  if (time == 0) return std::unexpected(Error(option + ": nothing lives for no time").with_remedy("leave it out"));
  return std::chrono::milliseconds(time);
}

Result<> plan_labels(const CommandLine& line, SessionOptions& session) {
  for (const std::string& text : line.values(OptionId::label)) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return std::unexpected(
          Error("option --label: '" + text.substr(0, 80) + "' is no label").with_remedy("write KEY=VALUE"));
    }
    session.labels.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return in_context(wire::check_labels(session.labels), "option --label");
}

Result<> plan_life(const CommandLine& line, SessionOptions& session) {
  WEIR_TRY(session.ttl, time_of(line, OptionId::ttl));
  WEIR_TRY(session.idle, time_of(line, OptionId::idle));
  const auto on_idle = line.value(OptionId::on_idle);
  if (on_idle && !session.idle)
    return std::unexpected(Error("option --on-idle: nothing says when it is idle").with_remedy("add --idle TIME"));
  if (on_idle == session::kAsksToSleep) {
    session.on_idle = SessionOptions::OnIdle::snapshot;
  } else if (on_idle && *on_idle != "stop") {
    return std::unexpected(Error("option --on-idle: '" + *on_idle + "' is nothing that can be done")
                               .with_remedy("write stop or snapshot"));
  }
  if (session.run.events.kind == supervisor::EventsSink::Kind::standard_output)
    return std::unexpected(Error("option --events -: a session has no standard output")
                               .with_remedy("name a file, or leave the option out"));
  return {};
}

// Of one word of a command line, which the shell that begins it is given (MAX_ARG_STRLEN is 128 KiB).
constexpr std::size_t kMaxBootstrap = 120'000;

Result<std::string> bootstrap_of(const CommandLine& line, const Caller& caller) {
  const auto file = line.value(OptionId::bootstrap_file);
  if (!file) return line.value(OptionId::bootstrap).value_or("");
  if (line.has(OptionId::bootstrap))
    return std::unexpected(
        Error("options --bootstrap and --bootstrap-file each say what is begun").with_remedy("keep one of them"));
  WEIR_TRY(const std::string path, in_context(absolute_path(*file, caller.folder), "option --bootstrap-file"));
  WEIR_TRY(std::string script, in_context(sys::read_file(path, kMaxBootstrap), "option --bootstrap-file"));
  if (script.find('\0') != std::string::npos)
    return std::unexpected(Error("option --bootstrap-file: " + *file + " is no script").with_remedy("write text"));
  return script;
}

Result<> plan_service(const CommandLine& line, const Caller& caller, SessionOptions& session) {
  using Restart = SessionOptions::Restart;
  WEIR_TRY(session.bootstrap, bootstrap_of(line, caller));
  if ((line.has(OptionId::bootstrap) || line.has(OptionId::bootstrap_file)) && session.bootstrap.empty())
    return std::unexpected(Error("option --bootstrap: the script is empty").with_remedy("leave it out"));
  const auto restart = line.value(OptionId::restart);
  if (!restart) return {};
  if (session.bootstrap.empty())
    return std::unexpected(Error("option --restart: nothing is begun").with_remedy("add --bootstrap SCRIPT"));
  for (const Restart each : {Restart::no, Restart::on_failure, Restart::always}) {
    if (supervisor::name_of(each) != *restart) continue;
    session.restart = each;
    return {};
  }
  return std::unexpected(
      Error("option --restart: '" + *restart + "' is no way to do it").with_remedy("write no, on-failure or always"));
}

// --on-idle snapshot: what it could not be woken with is said now. The credentials of a proxy are never written down.
Result<> plan_sleep(SessionOptions& session) {
  if (session.on_idle != SessionOptions::OnIdle::snapshot) return {};
  const auto refused = [](const std::string& why, std::string remedy) {
    return std::unexpected(Error("option --on-idle snapshot: " + why).with_remedy(std::move(remedy)));
  };
  const supervisor::RunOptions& run = session.run;
  if (!run.no_snapshots.empty()) return refused(run.no_snapshots, "write --on-idle stop");
  using In = policy::EgressProxy::CredentialsIn;
  const auto in_variable = [](const policy::EgressProxy& each) { return each.credentials_in == In::variable; };
  if (std::ranges::any_of(run.egress_proxies, in_variable)) {
    return refused("the credentials of the upstream proxy are in a variable, which nobody has when it wakes",
                   "keep them in a file");
  }
  WEIR_CHECK_OK(check_record_outside(run.snapshots_folder, run.spec.shares, "share it with :ro or :overlay"));
  WEIR_TRY(const std::vector<sandbox::Tool> tools, sandbox::resolve_tools(run.spec.tools));
  for (const sandbox::Tool& tool : tools) session.tool_sources.push_back(tool.source);
  WEIR_CHECK_OK(check_guarded(run));
  const auto plan = supervisor::sleep_plan_text(session, {.slept = {.snapshot = "s-00000000"}});
  if (!plan) return refused(plan.error().what(), plan.error().remedy());
  if (const auto again = supervisor::parse_sleep_plan(*plan); !again)
    return refused("it could not be woken: " + again.error().what(), "use less of it, or write --on-idle stop");
  return {};
}

template <class T>
Answer<T> as_answer(Result<T> result, ErrorCode code) {
  if (!result) return refuse(code, result.error());
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

ErrorCode code_of(const CommandLine& line, const Error& error) {
  if (error.code() == kTaintCode) return ErrorCode::taint;
  if (error.code() != ENOENT) return ErrorCode::bad_request;
  if (line.has(OptionId::image)) return ErrorCode::image_not_found;
  const bool snapshot = line.has(OptionId::snapshot) || line.has(OptionId::template_name);
  return snapshot ? ErrorCode::snapshot_not_found : ErrorCode::bad_request;
}

Answer<SessionOptions> plan_session(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(PolicyInput input, as_answer(policy_input(line, caller), ErrorCode::bad_policy));
  input.compile.purpose = policy::CompileInput::Purpose::running;
  WEIR_TRY(const policy::Compiled compiled, as_answer(policy::compile_policy(input.compile), ErrorCode::bad_policy));
  WEIR_CHECK_OK(as_answer(check_runnable(compiled, line), ErrorCode::cannot_enforce));
  SessionOptions session;
  auto run = plan_run(line, caller, compiled);
  if (!run) {
    return refuse(code_of(line, run.error()), run.error());
  }
  session.run = std::move(*run);
  if (compiled.patch && (session.run.spec.network == sandbox::Network::captured || session.run.spec.published)) {
    WEIR_TRY(sys::OwnedFd file, as_answer(finish_compiled(std::move(input), *compiled.patch), ErrorCode::internal));
    session.run.policy_file = std::make_shared<const sys::OwnedFd>(std::move(file));
  }
  if (line.has(OptionId::name)) session.name = session.run.name;
  if (const auto id = line.value(OptionId::id)) {
    if (!session::is_session_id(*id)) {
      return refuse(ErrorCode::bad_request, "option --id: '" + *id + "' is no id of a session",
                    "write w- and 8 hexadecimal digits, or leave it out");
    }
    if (session.run.name == session.run.spec.id) session.run.name = *id;
    session.run.spec.id = *id;
    session.id = SessionOptions::Id::given;
  }
  WEIR_CHECK_OK(as_answer(plan_labels(line, session), ErrorCode::bad_request));
  WEIR_CHECK_OK(as_answer(plan_life(line, session), ErrorCode::bad_request));
  WEIR_CHECK_OK(as_answer(plan_service(line, caller, session), ErrorCode::bad_request));
  session.layers_below = session.run.begun_from.layers.size();
  WEIR_CHECK_OK(as_answer(plan_sleep(session), ErrorCode::bad_request));
  return session;
}

}  // namespace

Result<Outcome> session_create_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  if (line.command == CommandId::service_create && !line.has(OptionId::bootstrap) &&
      !line.has(OptionId::bootstrap_file)) {
    return std::unexpected(Error("weir service create: nothing says what it serves")
                               .with_remedy("add --bootstrap SCRIPT, or make a session: weir session create"));
  }
  // From here on it is a session like any other.
  CommandLine create = line;
  create.command = CommandId::session_create;
  auto session = plan_session(create, caller);
  Outcome outcome;
  if (session) {
    if (format == OutputFormat::json) session->report = SessionOptions::Report::json;
    outcome.session = std::move(*session);
    return outcome;
  }
  if (format == OutputFormat::text)
    return std::unexpected(Error(session.error().message).with_remedy(session.error().remedy));
  outcome.exit_code = supervisor::kExitOwnFailure;
  outcome.out = wire::error_line(session.error());
  return outcome;
}

}  // namespace weir::cli
