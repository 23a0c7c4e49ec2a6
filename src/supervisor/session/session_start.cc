#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "base/failure_line.h"
#include "base/json.h"
#include "session/registry.h"
#include "supervisor/sandbox_id.h"
#include "supervisor/session/life_events.h"
#include "supervisor/session/live_session.h"
#include "supervisor/session/session_options.h"
#include "supervisor/session/sleep_plan.h"
#include "sys/descriptor_limit.h"
#include "sys/errno.h"
#include "sys/pipe.h"
#include "sys/program_arguments.h"

namespace weir::supervisor {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

// What the supervisor tells the process that started it: one line, the session or an error, as on its socket.
void report(sys::OwnedFd& pipe, const wire::SessionReply& reply) {
  const std::string line = wire::session_reply_line(reply);
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = ::write(pipe.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;  // nobody waits any more: the session lives all the same
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  pipe.reset();
}

// Of one that is woken: its own.
Answer<session::OwnFolder> make_folder(SessionOptions& options) {
  if (options.folder) return std::move(*options.folder);
  const auto registry = session::Registry::open();
  if (!registry) return refuse(ErrorCode::internal, registry.error());
  constexpr int kMaxDraws = 8;  // of 2^32 ids: a second one is rare enough
  for (int draws = 1;; ++draws) {
    auto folder = registry->create(options.run.spec.id, options.name);
    if (folder || folder.error().code != ErrorCode::conflict || draws == kMaxDraws) return folder;
    if (options.id == SessionOptions::Id::given) return folder;
    auto id = new_sandbox_id();
    if (!id) return refuse(ErrorCode::internal, id.error());
    options.run.spec.id = *id;
    if (options.name.empty()) options.run.name = *id;
  }
}

// Nothing of who started it: neither its terminal nor its folder, its signals or its descriptors.
Result<> let_go(const std::vector<int>& inherited) {
  ::setsid();
  sys::erase_program_arguments(sys::Erased::arguments);
  for (const int fd : inherited) {
    if (fd > STDERR_FILENO) ::close(fd);
  }
  const sys::OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::dup2(null.get(), fd) != fd) return sys::errno_error("cannot open /dev/null");
  }
  if (::chdir("/") != 0) return sys::errno_error("cannot leave the current folder");
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD}) ::signal(signal, SIG_DFL);
  return {};
}

enum class Outcome : std::uint8_t { stood, did_not_stand };

// It is awake: what it slept in is of no use any more. Its layers are, as long as it uses them.
void forget_sleep(const SessionOptions& options, const session::OwnFolder& folder) {
  if (!options.slept) return;
  for (const char* name : {kSleepPlan, kSleepPolicy, kSleepAfter}) ::unlink(folder.path_of(name).c_str());
  if (options.run.snapshot) ::unlink(options.run.snapshot->snapshot().kept_by.c_str());
}

Result<AuditLog> open_log(const SessionOptions& options) {
  const RunOptions& run = options.run;
  const audit::Envelope envelope{.sandbox = run.spec.id, .policy = run.policy_hash, .generation = run.stage.generation};
  return options.slept ? AuditLog::open_again(run.events, envelope, options.slept->sequence)
                       : AuditLog::open(run.events, envelope);
}

// The mode of the policy in force when it fell asleep, or that of the start.
std::string mode_of(const RunOptions& run) {
  if (!run.policy_file) return run.policy_mode;
  const auto policy = Network::Policy::of(run.policy_file);
  return policy ? std::string(policy::name_of(policy->image.mode())) : run.policy_mode;
}

// It is gone, or has not come to be: what is left of it goes, unless it sleeps (on). So do the layers that it woke
// with, where nothing is made of them any more; whoever comes next sweeps what cannot be swept now.
void leave(SessionOptions& options, session::OwnFolder& folder, const LiveSession& session, Outcome outcome) {
  const bool sleeps = session.is_asleep() || (options.slept && outcome == Outcome::did_not_stand);
  sleeps ? folder.let_go() : folder.remove();
  if (!options.slept || outcome == Outcome::did_not_stand) return;
  options.run.snapshot.reset();
  if (auto store = image::Snapshots::open(options.run.snapshots_folder)) static_cast<void>(store->list());
}

audit::Event last_event(const SessionOptions& options, const LiveSession& session, const Ending& ending,
                        const Result<>& started) {
  if (session.is_asleep()) return asleep_event();
  if (options.slept && !started) return asleep_event(started.error().what());
  return exit_event(ending);
}

// The life of a supervisor. An error: it did not come to stand, and nothing of it is left but what was there before.
Answer<> supervise(SessionOptions& options, session::OwnFolder& folder, sys::OwnedFd& pipe) {
  const auto failed = [](const Error& error) { return refuse(ErrorCode::cannot_enforce, error); };
  auto reactor = sys::Reactor::create();
  if (!reactor) return refuse(ErrorCode::internal, reactor.error());
  auto ports = open_published_ports(options.run.publishes);
  if (!ports) return refuse(ErrorCode::conflict, ports.error());
  auto sandbox = sandbox::Sandbox::prepare(options.run.spec);
  sys::raise_descriptor_limit();
  auto log = open_log(options);
  if (!log) return refuse(ErrorCode::internal, log.error());
  if (!log->record(options.slept ? awake_event(mode_of(options.run), *ports) : start_event(options.run, *ports)) ||
      !log->commit())
    return refuse(ErrorCode::internal, log->failure(), "name another file with --events FILE, or --events none");
  log->attach(*reactor);
  LiveSession session(options, folder, std::move(*ports), *reactor, *log, std::move(sandbox));
  const auto started = session.start();
  if (started) forget_sleep(options, folder);
  if (started) report(pipe, session.info());
  const Ending ending = started ? session.run() : session.give_up(started.error());
  log->record(last_event(options, session, ending, started));
  log->commit();
  // Before the connections close: who waited for the end finds the name free.
  leave(options, folder, session, started ? Outcome::stood : Outcome::did_not_stand);
  if (!started) return failed(started.error());
  return {};
}

[[noreturn]] void become_supervisor(SessionOptions& options, session::OwnFolder folder, sys::OwnedFd pipe,
                                    const std::vector<int>& inherited) {
  Answer<> lived = {};
  if (auto free = let_go(inherited); !free) {
    lived = refuse(ErrorCode::internal, free.error());
  } else {
    lived = supervise(options, folder, pipe);
  }
  // Where it came that far it is done.
  options.slept ? folder.let_go() : folder.remove();
  if (!lived) report(pipe, lived.error());
  options.run.image.reset();  // what was unpacked for this session goes with it
  ::_exit(0);
}

Answer<wire::SessionInfo> await_report(const sys::OwnedFd& pipe) {
  std::string line;
  std::array<char, 4096> buffer;
  while (!line.ends_with('\n')) {
    const ssize_t count = ::read(pipe.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return refuse(ErrorCode::internal, "the supervisor of the session ended before it stood");
    line.append(buffer.data(), static_cast<std::size_t>(count));
  }
  line.pop_back();
  auto reply = wire::parse_session_reply(line);
  if (!reply) return refuse(ErrorCode::internal, reply.error());
  if (auto* const refusal = std::get_if<wire::Refusal>(&*reply)) return std::unexpected(std::move(*refusal));
  if (auto* const info = std::get_if<wire::SessionInfo>(&*reply)) return std::move(*info);
  return refuse(ErrorCode::internal, "the supervisor of the session talks nonsense");
}

// The supervisor is nobody's child once this process ends, which it does as soon as it has the report. Init dies with
// the thread that made it: the sandbox is made by the process that stays.
Answer<wire::SessionInfo> start_supervisor(SessionOptions options, const std::vector<int>& inherited) {
  auto folder = make_folder(options);
  if (!folder) return std::unexpected(std::move(folder).error());
  auto pipe = sys::make_pipe();
  if (!pipe) return refuse(ErrorCode::internal, pipe.error());
  auto& [reader, writer] = *pipe;
  const pid_t supervisor = ::fork();
  if (supervisor < 0) {
    const Error error = sys::errno_error("cannot start the supervisor").error();
    options.slept ? folder->let_go() : folder->remove();
    return refuse(ErrorCode::internal, error);
  }
  if (supervisor == 0) become_supervisor(options, std::move(*folder), std::move(writer), inherited);
  writer.reset();
  // It lives in what was unpacked for it, and removes that.
  if (options.run.image) options.run.image->release();
  return await_report(reader);
}

}  // namespace

int create_session(SessionOptions options, const std::vector<int>& inherited) {
  const auto how = options.report;
  std::vector<std::string> notices;
  if (options.run.verbosity != Verbosity::quiet) notices = options.run.start_notices;
  const auto session = start_supervisor(std::move(options), inherited);
  if (session) {
    for (const std::string& notice : notices) std::fputs(failure_line(Error(notice)).c_str(), stderr);
    JsonWriter json;
    wire::write_session(json, *session);
    const std::string text = how == SessionOptions::Report::json ? json.take() : session->id;
    return std::printf("%s\n", text.c_str()) < 0 || std::fflush(stdout) != 0 ? kExitOwnFailure : 0;
  }
  const wire::Refusal& refusal = session.error();
  if (how == SessionOptions::Report::json) {
    std::fputs(wire::error_line(refusal).c_str(), stdout);
  } else {
    std::fputs(failure_line(Error(refusal.message).with_remedy(refusal.remedy)).c_str(), stderr);
  }
  return kExitOwnFailure;
}

}  // namespace weir::supervisor
