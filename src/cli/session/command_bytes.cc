// weir session run|shell|cp|output, weir exec: what moves bytes.
#include <unistd.h>

#include <algorithm>

#include "base/failure_line.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/session/attached_run.h"
#include "cli/session/copy.h"
#include "cli/session/new_session.h"
#include "cli/session/reach.h"
#include "cli/session/run_request.h"
#include "cli/session/show.h"

namespace weir::cli {
namespace {

using session::Connection;
using session::Registry;

Result<Outcome> attach(const Registry& registry, RunRequest request, OutputFormat format, supervisor::Verbosity says) {
  Outcome outcome;
  for (const std::string& notice : request.notices) outcome.err += failure_line(Error(notice));
  outcome.stream = [registry, request = std::move(request), format, says](const Streams& streams) -> Result<int> {
    WEIR_TRY(const auto exited, run_attached(registry, request.session, request.process));
    if (format == OutputFormat::json) {
      JsonWriter json;
      wire::write_exited(json, exited);
      WEIR_CHECK_OK(streams.err(json.take() + "\n"));
    } else {
      WEIR_CHECK_OK(streams.err(ending_text(exited, request.session, says)));
    }
    return static_cast<int>(exited.exit_code);
  };
  return outcome;
}

supervisor::Verbosity verbosity_of(const CommandLine& line) {
  return line.has(OptionId::quiet) ? supervisor::Verbosity::quiet : supervisor::Verbosity::normal;
}

Result<Outcome> run(const CommandLine& line, const Caller& caller, const Registry& registry) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  WEIR_TRY(RunRequest request, plan_session_run(line, caller));
  if (!request.process.detach) return attach(registry, std::move(request), format, verbosity_of(line));
  WEIR_TRY(const auto started, ask_for<wire::StartedProcess>(registry, request.session, request.process));
  Outcome outcome;
  for (const std::string& notice : request.notices) outcome.err += failure_line(Error(notice));
  outcome.out = format == OutputFormat::json ? "{\"pid\":" + std::to_string(started.pid) + "}\n"
                                             : std::to_string(started.pid) + "\n";
  return outcome;
}

Result<Outcome> shell(const CommandLine& line, const Caller& caller, const Registry& registry) {
  const auto input = ::isatty(STDIN_FILENO) == 1 ? StandardInput::terminal : StandardInput::other;
  WEIR_TRY(RunRequest request, plan_session_shell(line, caller, input));
  return attach(registry, std::move(request), OutputFormat::text, verbosity_of(line));
}

// Where this process is killed nobody removes the session: then it ends by being idle.
constexpr const char* kAbandonedAfter = "--idle=1m";

Result<Outcome> shell_in_new_session(const CommandLine& line, const Caller& caller, const Registry& registry) {
  const auto input = ::isatty(STDIN_FILENO) == 1 ? StandardInput::terminal : StandardInput::other;
  CommandLine plain;
  plain.operands = {""};
  WEIR_TRY(RunRequest request, plan_session_shell(plain, caller, input));
  std::vector<std::string> options = line.option_words();
  if (!line.has(OptionId::idle)) options.emplace_back(kAbandonedAfter);
  Outcome outcome;
  outcome.stream = [registry, options, request, says = verbosity_of(line)](const Streams& streams) -> Result<int> {
    WEIR_TRY(const auto id, create_session(options));
    if (!id) return supervisor::kExitOwnFailure;
    const auto exited = run_attached(registry, *id, request.process);
    const auto removed = stop_session(registry, *id, {.kill = true});
    if (!exited) return std::unexpected(exited.error());
    WEIR_CHECK_OK(streams.err(ending_text(*exited, *id, says)));
    WEIR_CHECK_OK(removed);
    return static_cast<int>(exited->exit_code);
  };
  return outcome;
}

Result<Outcome> copy_files(const CommandLine& line, const Registry& registry) {
  WEIR_TRY(const CopyPlace from, parse_copy_place(line.operands[0]));
  WEIR_TRY(const CopyPlace to, parse_copy_place(line.operands[1]));
  const Progress progress = line.has(OptionId::quiet) ? Progress::hidden : Progress::shown;
  Outcome outcome;
  outcome.stream = [=](const Streams&) -> Result<int> {
    WEIR_CHECK_OK(copy(registry, from, to, progress));
    return 0;
  };
  return outcome;
}

// One of the two files that hold what a process has printed, and how far it was shown.
struct Printed {
  sys::OwnedFd file;
  std::uint64_t shown = 0;

  Result<> show(std::uint64_t size, const std::function<Result<>(std::string_view)>& print) {
    std::string buffer(std::size_t{64} << 10, '\0');
    while (shown < size) {
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - shown));
      const ssize_t got = ::pread(file.get(), buffer.data(), want, static_cast<off_t>(shown));
      if (got <= 0) return fail("cannot read what the process printed");
      WEIR_CHECK_OK(print(std::string_view(buffer).substr(0, static_cast<std::size_t>(got))));
      shown += static_cast<std::uint64_t>(got);
    }
    return {};
  }
};

Result<int> print_output(Connection& connection, wire::ReadOutput request, const Streams& streams) {
  Printed out;
  Printed err;
  while (true) {
    WEIR_TRY(Connection::Reply reply, result_of(connection.receive()));
    const auto* info = reply.as<wire::OutputInfo>();
    if (info == nullptr) return fail("the session answered something else than it was asked for");
    if (!out.file.valid()) {
      if (reply.passed.size() != 2) return fail("the session answered without the files of the process");
      out.file = std::move(reply.passed[0]);
      err.file = std::move(reply.passed[1]);
    }
    WEIR_CHECK_OK(out.show(info->stdout_bytes, streams.out));
    WEIR_CHECK_OK(err.show(info->stderr_bytes, streams.err));
    if (request.follow && !info->exited) continue;
    if (info->truncated) WEIR_CHECK_OK(streams.err("weir: more was printed than is kept\n"));
    return 0;
  }
}

// Of a service: that of the process which is it now, or was it last.
Result<std::uint32_t> pid_of(const CommandLine& line, const Registry& registry) {
  if (line.command == CommandId::session_output) return parse_pid(line.operands[1]);
  WEIR_TRY(session::Stored stored, result_of(registry.find(line.operands[0])));
  WEIR_TRY(const wire::SessionInfo info, look_at(registry, std::move(stored)));
  WEIR_CHECK_OK(require_service(info));
  if (info.state == session::kAsleep)
    return fail("service " + line.operands[0] + " is asleep, and what it printed is not kept");
  if (info.service->pid != 0) return static_cast<std::uint32_t>(info.service->pid);
  return std::unexpected(Error("service " + line.operands[0] + " has not begun anything yet").with_remedy("try again"));
}

Result<Outcome> output(const CommandLine& line, const Registry& registry) {
  WEIR_TRY(const std::uint32_t pid, pid_of(line, registry));
  const wire::ReadOutput request{.pid = pid, .follow = line.has(OptionId::follow)};
  Outcome outcome;
  outcome.stream = [registry, request, who = line.operands[0]](const Streams& streams) -> Result<int> {
    WEIR_TRY(Connection connection, result_of(Connection::open(registry, who)));
    WEIR_CHECK_OK(result_of(connection.send(request)));
    return print_output(connection, request, streams);
  };
  return outcome;
}

}  // namespace

Result<Outcome> session_bytes_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const Registry registry, Registry::open());
  const CommandId command = line.command;
  if (command == CommandId::session) return shell_in_new_session(line, caller, registry);
  if (command == CommandId::session_shell) return shell(line, caller, registry);
  if (command == CommandId::session_cp) return copy_files(line, registry);
  if (command == CommandId::session_output || command == CommandId::service_logs) return output(line, registry);
  return run(line, caller, registry);
}

}  // namespace weir::cli
