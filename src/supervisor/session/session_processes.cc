#include "supervisor/session/session_processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "supervisor/live_sandbox.h"
#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::supervisor {

namespace {

using sandbox::Inside;
using wire::ErrorCode;

constexpr std::size_t kStandard = 3;  // descriptors of a process

// A folder, or a handle without rights, would be a way out of the sandbox (openat(2)).
Result<> check_stdio(const sys::OwnedFd& fd) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys::errno_error("cannot look at a descriptor");
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (S_ISDIR(status.st_mode) || flags < 0 || (flags & O_PATH) != 0)
    return fail("a folder or an O_PATH handle is no standard input and no output", EINVAL);
  if (::isatty(fd.get()) == 1)
    return std::unexpected(
        Error("a terminal of this machine is not handed in: what keeps it could read what is typed", EINVAL)
            .with_remedy("pass a pipe, or ask for a terminal of the sandbox's own"));
  return {};
}

Result<sys::OwnedFd> open_null(int flags) {
  return sys::checked_fd(::open("/dev/null", flags | O_CLOEXEC), "cannot open /dev/null");
}

ErrorCode code_of(const Error& error) {
  switch (error.code()) {
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOSPC:
      return ErrorCode::limit;
    case EBUSY:
      return ErrorCode::conflict;
    case EINVAL:
      return ErrorCode::bad_request;
    default:
      return ErrorCode::internal;
  }
}

SessionProcesses::Variables with(SessionProcesses::Variables env, const SessionProcesses::Variables& more) {
  for (const auto& [name, value] : more) {
    const auto found = std::ranges::find(env, name, [](const auto& each) { return each.first; });
    if (found == env.end()) {
      env.emplace_back(name, value);
    } else {
      found->second = value;
    }
  }
  return env;
}

}  // namespace

SessionProcesses::~SessionProcesses() {
  for (auto& [client, follower] : followers_) ground_.reactor.cancel(follower.timer);
  for (auto& [number, process] : processes_) ground_.reactor.cancel(process.timer);
  ground_.reactor.cancel(making_room_);
}

void SessionProcesses::refuse(ClientId client, ErrorCode code, std::string message, std::string remedy) {
  ground_.server.finish(client,
                        wire::error_line({.code = code, .message = std::move(message), .remedy = std::move(remedy)}));
}

void SessionProcesses::no_such(ClientId client, std::uint32_t pid) {
  refuse(client, ErrorCode::not_found, "there is no process " + std::to_string(pid) + " that was asked for here",
         "the op processes lists them");
}

void SessionProcesses::done(ClientId client) {
  ground_.server.finish(client, wire::session_reply_line(wire::Done{}));
}

Result<Inside::Stdio> SessionProcesses::kept_stdio(const wire::RunProcess& request, Process& process) {
  const std::string name = std::to_string(process.number);
  const auto on_grown = [this, number = process.number] { grown(number); };
  WEIR_TRY(process.out, KeptOutput::create(ground_.reactor, ground_.folder, name + ".out", on_grown, budget_));
  WEIR_TRY(process.err, KeptOutput::create(ground_.reactor, ground_.folder, name + ".err", on_grown, budget_));
  Inside::Stdio stdio{.in = {}, .out = process.out->take_writer(), .err = process.err->take_writer()};
  if (!request.keeps_stdin) {
    WEIR_TRY(stdio.in, open_null(O_RDONLY));
    return stdio;
  }
  WEIR_TRY(sys::Pipe pipe, sys::make_pipe());
  stdio.in = std::move(pipe.reading);
  process.feed = std::move(pipe.writing);
  return stdio;
}

Result<> SessionProcesses::check_descriptors(const wire::RunProcess& request, const std::vector<sys::OwnedFd>& passed) {
  const std::size_t wanted = request.detach || request.terminal ? 0 : kStandard;
  if (passed.size() != wanted) {
    return fail(
        "with this request come " + std::to_string(wanted) + " descriptors, not " + std::to_string(passed.size()),
        EINVAL);
  }
  for (const sys::OwnedFd& fd : passed) WEIR_CHECK_OK(check_stdio(fd));
  return {};
}

Result<Inside::Stdio> SessionProcesses::stdio_of(const wire::RunProcess& request, std::vector<sys::OwnedFd> passed,
                                                 Process& process) {
  WEIR_CHECK_OK(check_descriptors(request, passed));
  if (request.terminal) return Inside::Stdio{};
  if (request.detach) return kept_stdio(request, process);
  return Inside::Stdio{.in = std::move(passed[0]), .out = std::move(passed[1]), .err = std::move(passed[2])};
}

SessionProcesses::Process SessionProcesses::new_process(const wire::RunProcess& request) {
  return {.inside = &ground_.inside,
          .number = ++last_number_,
          .argv0 = request.argv.front().substr(0, kMaxArgv0),
          .detached = request.detach,
          .terminal = request.terminal,
          .started = audit::rfc3339(wall_clock()),
          .started_ms = sys::monotonic_ms(),
          .refused_before = refused_now()};
}

void SessionProcesses::run(ClientId client, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed) {
  Process process = new_process(request);
  process.client = client;
  const auto started = start(std::move(process), request, std::move(passed), ground_.env);
  if (!started) refuse(client, code_of(started.error()), started.error().what(), started.error().remedy());
}

void SessionProcesses::run_for_session(const wire::RunProcess& request, OnBegun on_begun, OnEnded on_ended) {
  Process process = new_process(request);
  process.on_begun = std::move(on_begun);
  process.on_ended = on_ended;
  const auto started = start(std::move(process), request, {}, ground_.env);
  if (!started) on_ended({.exit_code = kExitCannotExecute, .not_executed = started.error().what()});
}

Result<std::uint64_t> SessionProcesses::run_elsewhere(ClientId client, const wire::RunProcess& request,
                                                      std::vector<sys::OwnedFd> passed, Elsewhere place) {
  Process process = new_process(request);
  const std::uint64_t number = process.number;
  process.client = client;
  process.inside = &place.inside;
  process.pid_elsewhere = place.pid;
  process.on_ended_elsewhere = std::move(place.on_ended);
  WEIR_CHECK_OK(start(std::move(process), request, std::move(passed), place.env));
  return number;
}

void SessionProcesses::finish(std::uint64_t number, wire::Answer<wire::ExitedProcess> how) {
  const auto found = processes_.find(number);
  if (found == processes_.end()) return;
  Process& process = found->second;
  ground_.reactor.cancel(process.timer);
  if (how && process.inside != nullptr) how->duration_ms = sys::monotonic_ms() - process.started_ms;
  if (process.client != 0)
    ground_.server.finish(process.client, how ? wire::session_reply_line(*how) : wire::error_line(how.error()));
  forget(number);
  --living_;
  ground_.on_changed();
}

Result<> SessionProcesses::start(Process process, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed,
                                 const Variables& env) {
  WEIR_TRY(Inside::Stdio stdio, stdio_of(request, std::move(passed), process));
  const Inside::Program program{.argv = request.argv,
                                .env = with(env, request.env),
                                .workdir = request.cwd.empty() ? ground_.workdir : request.cwd,
                                .terminal = request.terminal,
                                .rows = request.rows,
                                .columns = request.columns};
  const std::uint64_t number = process.number;
  Process& added = processes_.emplace(number, std::move(process)).first->second;
  ++living_;
  ground_.on_changed();
  const auto on_begun = [this, number, timeout = request.timeout_ms](Result<Inside::Begun> result) {
    begun(number, std::move(result), timeout);
  };
  added.id = added.inside->start(program, std::move(stdio), on_begun,
                                 [this, number](const Inside::Ended& how) { ended(number, how); });
  return {};
}

void SessionProcesses::begun(std::uint64_t number, Result<Inside::Begun> begun, std::uint64_t timeout_ms) {
  Process& process = processes_.at(number);
  if (!begun) {
    const Error& error = begun.error();
    refuse(process.client, code_of(error), "the process could not be started: " + error.what(), error.remedy());
    const OnEnded on_ended = std::move(process.on_ended);
    const auto on_ended_elsewhere = std::move(process.on_ended_elsewhere);
    const std::string why = error.what();
    processes_.erase(number);
    --living_;
    ground_.on_changed();
    if (on_ended_elsewhere) on_ended_elsewhere(std::unexpected(error));
    if (on_ended) on_ended({.exit_code = kExitCannotExecute, .not_executed = why});
    return;
  }
  process.pid = process.pid_elsewhere != 0 ? process.pid_elsewhere : begun->pid;
  // A number that the kernel has given out again: what ended under it is forgotten.
  if (const Process* const old = find(process.pid); old != nullptr && old->exited) {
    std::erase(remembered_, old->number);
    forget(old->number);
  }
  by_pid_[process.pid] = number;
  if (process.on_begun) process.on_begun(process.pid);
  if (timeout_ms != 0) {
    process.timer = ground_.reactor.at(sys::monotonic_ms() + timeout_ms, [this, number] { on_timeout(number); });
  }
  const std::string line = wire::session_reply_line(wire::StartedProcess{.pid = process.pid});
  if (process.detached) {
    ground_.server.finish(std::exchange(process.client, 0), line);
  } else if (process.client == 0) {
    send_signal(process, SIGKILL);  // its client went meanwhile
  } else if (begun->terminal.valid()) {
    ground_.server.send(process.client, line, std::array{begun->terminal.get()});
  } else {
    ground_.server.send(process.client, line);
  }
}

void SessionProcesses::on_timeout(std::uint64_t number) {
  Process& process = processes_.at(number);
  process.timed_out = true;
  send_signal(process, SIGTERM);
  process.timer = ground_.reactor.at(sys::monotonic_ms() + ground_.grace_ms, [this, number] {
    Process& stubborn = processes_.at(number);
    stubborn.timer = 0;
    send_signal(stubborn, SIGKILL);
  });
}

void SessionProcesses::send_signal(const Process& process, int number) {
  if (process.inside != nullptr && process.pid != 0) process.inside->signal(process.id, number);
}

// Repeats of the last second count as well.
SessionProcesses::Refused SessionProcesses::refused_now() {
  ground_.log.flush_roll_ups();
  Refused refused;
  for (const audit::RefusedDestination& each : ground_.log.tally().refused())
    refused.emplace(each.what + '\0' + each.reason, each.times);
  return refused;
}

wire::ExitedProcess SessionProcesses::exit_of(const Process& process, const Inside::Ended& ended) {
  wire::ExitedProcess exited{
      .exit_code = process.timed_out ? kExitTimeout : exit_code_of(ended.status),
      .signal = WIFSIGNALED(ended.status) ? static_cast<std::uint32_t>(WTERMSIG(ended.status)) : 0,
      .timed_out = process.timed_out,
      .duration_ms = sys::monotonic_ms() - process.started_ms};
  if (ended.not_executed) exited.not_executed = ended.not_executed->what();
  ground_.log.flush_roll_ups();
  if (process.pid_elsewhere == 0) tell_refused(exited, ground_.log.tally(), process.refused_before);
  return exited;
}

void SessionProcesses::tell_refused(wire::ExitedProcess& exited, const audit::Tally& tally, const Refused& before) {
  for (const audit::RefusedDestination& each : tally.refused()) {
    const auto known = before.find(each.what + '\0' + each.reason);
    const std::uint64_t times = each.times - (known == before.end() ? 0 : known->second);
    if (times == 0) continue;
    if (exited.refused.size() == wire::ExitedProcess::kMaxRefused) {
      ++exited.refused_more;
    } else {
      exited.refused.push_back({.destination = each.what, .reason = each.reason, .times = times});
    }
  }
}

void SessionProcesses::ended(std::uint64_t number, const Inside::Ended& how) {
  Process& process = processes_.at(number);
  ground_.reactor.cancel(std::exchange(process.timer, 0));
  cpu_us_ += how.user_us + how.system_us;
  if (process.pid_elsewhere != 0) {
    process.inside = nullptr;
    return process.on_ended_elsewhere(exit_of(process, how));
  }
  process.exited = exit_of(process, how);
  process.refused_before.clear();
  process.feed.reset();
  const OnEnded on_ended = std::move(process.on_ended);
  const wire::ExitedProcess exited = *process.exited;
  --living_;
  if (process.detached) {
    process.out->drain();
    process.err->drain();
    remember(process);
  } else {
    ground_.server.finish(process.client, wire::session_reply_line(*process.exited));
    forget(number);
  }
  // Before anybody looks at what lives: it may begin anew.
  if (on_ended) on_ended(exited);
  ground_.on_changed();
}

void SessionProcesses::forget(std::uint64_t number) {
  const auto found = processes_.find(number);
  const auto named = by_pid_.find(found->second.pid);
  if (named != by_pid_.end() && named->second == number) by_pid_.erase(named);
  processes_.erase(found);
}

void SessionProcesses::remember(Process& process) {
  std::vector<ClientId> waiting;
  for (const auto& [client, follower] : followers_) {
    if (follower.number == process.number) waiting.push_back(client);
  }
  for (const ClientId client : waiting) tell(client);
  remembered_.push_back(process.number);
  if (remembered_.size() <= kMaxRemembered) return;
  forget(remembered_.front());
  remembered_.pop_front();
}

SessionProcesses::Process* SessionProcesses::find(std::uint32_t pid) {
  const auto found = by_pid_.find(pid);
  return found == by_pid_.end() ? nullptr : &processes_.at(found->second);
}

// Null: the client has been told.
SessionProcesses::Process* SessionProcesses::find_detached(ClientId client, std::uint32_t pid) {
  Process* const process = find(pid);
  if (process == nullptr) {
    no_such(client, pid);
  } else if (!process->detached) {
    refuse(client, ErrorCode::conflict, "process " + std::to_string(pid) + " is attached to who began it",
           "its descriptors are those that came with its run");
    return nullptr;
  }
  return process;
}

void SessionProcesses::list(ClientId client) {
  wire::ProcessList list;
  for (const auto& [number, process] : processes_) {
    if (process.pid == 0) continue;
    list.processes.push_back({.pid = process.pid,
                              .argv0 = process.argv0,
                              .detached = process.detached,
                              .started = process.started,
                              .exited = process.exited,
                              .stdout_bytes = process.out ? process.out->bytes() : 0,
                              .stderr_bytes = process.err ? process.err->bytes() : 0});
    // With as many as there may be the line would be too long for anybody.
    auto& exited = list.processes.back().exited;
    if (exited) {
      exited->refused.clear();
      exited->refused_more = 0;
    }
  }
  ground_.server.finish(client, wire::session_reply_line(list));
}

void SessionProcesses::signal(ClientId client, const wire::SignalProcess& request) {
  const Process* const process = find(request.pid);
  if (process == nullptr) return no_such(client, request.pid);
  if (process->exited || process->inside == nullptr)
    return refuse(client, ErrorCode::gone, "process " + std::to_string(request.pid) + " has ended");
  send_signal(*process, request.signal);
  done(client);
}

void SessionProcesses::feed(ClientId client, const wire::FeedProcess& request) {
  Process* const process = find_detached(client, request.pid);
  if (process == nullptr) return;
  if (process->exited) return refuse(client, ErrorCode::gone, "process " + std::to_string(request.pid) + " has ended");
  if (!process->feed.valid()) {
    return refuse(client, ErrorCode::conflict,
                  "the standard input of process " + std::to_string(request.pid) + " is closed",
                  "run it with \"stdin\": true");
  }
  if (request.close) {
    process->feed.reset();
    return done(client);
  }
  ground_.server.finish(client, wire::session_reply_line(wire::Done{}), std::array{process->feed.get()});
}

wire::OutputInfo SessionProcesses::output_of(const Process& process) const {
  return {.stdout_bytes = process.out->bytes(),
          .stderr_bytes = process.err->bytes(),
          .truncated = process.out->truncated() || process.err->truncated(),
          .exited = process.exited};
}

void SessionProcesses::output(ClientId client, const wire::ReadOutput& request) {
  Process* const process = find_detached(client, request.pid);
  if (process == nullptr) return;
  const auto out = process->out->open();
  const auto err = process->err->open();
  if (!out || !err) {
    const Error& error = out ? err.error() : out.error();
    return refuse(client, code_of(error), error.what());
  }
  const std::string line = wire::session_reply_line(output_of(*process));
  const std::array passed = {out->get(), err->get()};
  if (!request.follow || process->exited) return ground_.server.finish(client, line, passed);
  followers_[client] = {.number = process->number, .told_ms = sys::monotonic_ms()};
  ground_.server.send(client, line, passed);
}

// While there is room for what comes until then. Later: what has grown may be what is forgotten.
void SessionProcesses::make_room() {
  if (budget_.left >= KeptOutput::kMaxBytes || remembered_.empty() || making_room_ != 0) return;
  making_room_ = ground_.reactor.at(sys::monotonic_ms(), [this] {
    making_room_ = 0;
    for (; budget_.left < KeptOutput::kMaxBytes && !remembered_.empty(); remembered_.pop_front())
      forget(remembered_.front());
  });
}

void SessionProcesses::grown(std::uint64_t number) {
  make_room();
  for (auto& [client, follower] : followers_) {
    if (follower.number != number || follower.timer != 0) continue;
    follower.timer = ground_.reactor.at(follower.told_ms + kFollowMs, [this, id = client] { tell(id); });
  }
}

void SessionProcesses::tell(ClientId client) {
  const auto found = followers_.find(client);
  Follower& follower = found->second;
  ground_.reactor.cancel(std::exchange(follower.timer, 0));
  follower.told_ms = sys::monotonic_ms();
  const Process& process = processes_.at(follower.number);
  const std::string line = wire::session_reply_line(output_of(process));
  if (!process.exited) return ground_.server.send(client, line);
  followers_.erase(found);
  ground_.server.finish(client, line);
}

void SessionProcesses::resize(ClientId client, const wire::ResizeTerminal& request) {
  const Process* const process = find(request.pid);
  if (process == nullptr) return no_such(client, request.pid);
  if (!process->terminal)
    return refuse(client, ErrorCode::conflict, "process " + std::to_string(request.pid) + " has no terminal");
  if (process->inside != nullptr) process->inside->resize(process->id, request.rows, request.columns);
  done(client);
}

void SessionProcesses::client_ended(ClientId client) {
  if (const auto found = followers_.find(client); found != followers_.end()) {
    ground_.reactor.cancel(found->second.timer);
    followers_.erase(found);
    return ground_.server.drop(client);
  }
  for (auto& [number, process] : processes_) {
    if (process.client != client || process.detached) continue;
    process.client = 0;
    send_signal(process, SIGKILL);
    return ground_.server.drop(client);
  }
}

void SessionProcesses::signal_all(int number) {
  for (const auto& [key, process] : processes_) {
    if (!process.exited) send_signal(process, number);
  }
}

}  // namespace weir::supervisor
