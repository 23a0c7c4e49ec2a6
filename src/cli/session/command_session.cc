// weir session ls|show|processes|signal|narrow|rm, weir ps, weir stop: one question, one answer.
#include <algorithm>
#include <ctime>

#include "base/failure_line.h"
#include "cli/command.h"
#include "cli/session/reach.h"
#include "cli/session/run_request.h"
#include "cli/session/show.h"
#include "cli/snapshot_input.h"
#include "sys/files.h"
#include "wire/signal_names.h"

namespace weir::cli {
namespace {

using session::Registry;

constexpr std::size_t kMaxPolicyBytes = std::size_t{1} << 20;  // of the whole request line

// What changes is asked of each; one that does not answer is shown as it was.
Result<std::vector<wire::SessionInfo>> all_sessions(const Registry& registry, const Caller& caller) {
  bool expired = false;
  WEIR_TRY(std::vector<session::Stored> stored, registry.list(&expired));
  if (expired) sweep_snapshots(snapshot_store(caller));
  std::vector<wire::SessionInfo> sessions;
  for (session::Stored& each : stored) {
    if (auto seen = look_at(registry, each, kListPatienceMs)) {
      sessions.push_back(std::move(*seen));
    } else if (registry.find(each.info.id)) {
      sessions.push_back(std::move(each.info));
    }
  }
  return sessions;
}

Result<Outcome> list(const CommandLine& line, const Registry& registry, const Caller& caller) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  WEIR_TRY(std::vector<wire::SessionInfo> sessions, all_sessions(registry, caller));
  if (line.command == CommandId::ps && !line.has(OptionId::all))
    std::erase_if(sessions, [](const wire::SessionInfo& each) { return each.state == session::kAsleep; });
  Outcome outcome;
  if (line.command == CommandId::service_ls) {
    std::erase_if(sessions, [](const wire::SessionInfo& each) { return !each.service; });
    outcome.out = format == OutputFormat::json ? sessions_json(sessions) : services_text(sessions);
    return outcome;
  }
  outcome.out = format == OutputFormat::json ? sessions_json(sessions) : sessions_text(sessions, ::time(nullptr));
  return outcome;
}

Result<Outcome> show(const CommandLine& line, const Registry& registry) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  WEIR_TRY(const session::Stored stored, result_of(registry.find(line.operands[0])));
  WEIR_TRY(const wire::SessionInfo info, look_at(registry, stored));
  if (line.command == CommandId::service_show) WEIR_CHECK_OK(require_service(info));
  Outcome outcome;
  outcome.out = format == OutputFormat::json ? session_json(info) : session_text(info);
  return outcome;
}

Result<Outcome> processes(const CommandLine& line, const Registry& registry) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  WEIR_TRY(const session::Stored stored, result_of(registry.find(line.operands[0])));
  wire::ProcessList list;  // of one that is asleep: none
  if (stored.info.state != session::kAsleep) {
    WEIR_TRY(list, ask_for<wire::ProcessList>(registry, stored.info.id, wire::ListProcesses{}));
  }
  Outcome outcome;
  outcome.out = format == OutputFormat::json ? processes_json(list) : processes_text(list);
  return outcome;
}

Result<Outcome> signal(const CommandLine& line, const Registry& registry) {
  WEIR_TRY(const std::uint32_t pid, parse_pid(line.operands[1]));
  const std::string name = line.operands.size() > 2 ? line.operands[2] : "TERM";
  const auto number = wire::signal_number(name);
  if (!number) {
    return std::unexpected(Error(quoted(name) + " is no signal").with_remedy("write a name such as TERM, or a number"));
  }
  WEIR_CHECK_OK(ask_for<wire::Done>(registry, line.operands[0], wire::SignalProcess{.pid = pid, .signal = *number}));
  return Outcome{};
}

Result<Outcome> narrow(const CommandLine& line, const Registry& registry) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  wire::ControlRequest request;
  request.op = wire::ControlRequest::Op::narrow;
  request.network_mode = line.value(OptionId::network).value_or("");
  request.network_allowlist = line.values(OptionId::allow);
  request.network_denylist = line.values(OptionId::deny);
  request.insist = line.values(OptionId::insist);
  if (const auto file = line.value(OptionId::policy)) {
    WEIR_TRY(request.policy, in_context(sys::read_file(*file, kMaxPolicyBytes), "option --policy"));
  }
  if (request.network_mode.empty() && request.network_allowlist.empty() && request.network_denylist.empty() &&
      !request.policy) {
    return std::unexpected(
        Error("weir session narrow: nothing to narrow to").with_remedy("add --net, --allow, --deny or --policy"));
  }
  WEIR_TRY(const auto narrowed, ask_for<wire::Narrowed>(registry, line.operands[0], request));
  Outcome outcome;
  for (const std::string& warning : narrowed.warnings) outcome.err += failure_line(Error(warning));
  outcome.out = format == OutputFormat::json
                    ? wire::session_reply_line(narrowed)
                    : "policy " + printable(narrowed.policy) + " is in force, generation " +
                          std::to_string(narrowed.generation) +
                          "; connections that were ended: " + std::to_string(narrowed.cut) + "\n";
  return outcome;
}

// Goes on after one that failed; each that is done is named.
Result<Outcome> stop(const CommandLine& line, const Registry& registry) {
  const wire::StopSession how{.kill = line.command != CommandId::stop};
  const auto end = [&](const std::string& who) -> Result<> {
    if (line.command == CommandId::service_rm) {
      WEIR_TRY(const session::Stored stored, result_of(registry.find(who)));
      WEIR_CHECK_OK(require_service(stored.info));
    }
    return stop_session(registry, who, how);
  };
  Outcome outcome;
  for (const std::string& who : line.operands) {
    if (const auto stopped = end(who); stopped) {
      outcome.out += printable(who) + "\n";
    } else {
      outcome.err += failure_line(stopped.error());
      outcome.exit_code = supervisor::kExitOwnFailure;
    }
  }
  return outcome;
}

}  // namespace

Result<Outcome> session_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const Registry registry, Registry::open());
  const CommandId command = line.command;
  if (command == CommandId::session_ls || command == CommandId::service_ls || command == CommandId::ps)
    return list(line, registry, caller);
  if (command == CommandId::session_show || command == CommandId::service_show) return show(line, registry);
  if (command == CommandId::session_processes) return processes(line, registry);
  if (command == CommandId::session_signal) return signal(line, registry);
  if (command == CommandId::session_narrow) return narrow(line, registry);
  return stop(line, registry);
}

}  // namespace weir::cli
