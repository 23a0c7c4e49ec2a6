// The processes that were asked for inside a session: attached ones, which live as long as their connection, and
// detached ones, whose output is kept.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/living/inside.h"
#include "supervisor/record/audit_log.h"
#include "supervisor/session/kept_output.h"
#include "supervisor/session/line_server.h"
#include "wire/session_reply.h"
#include "wire/session_request.h"

namespace weir::supervisor {

class SessionProcesses {
 public:
  // Detached ones that have ended and are remembered; the oldest is forgotten with its output.
  static constexpr std::size_t kMaxRemembered = 256;
  // What all outputs together may keep; where there is little left, the oldest that have ended are forgotten.
  static constexpr std::uint64_t kMaxKept = 256ull << 20;
  // So much of a program's name is told and recorded.
  static constexpr std::size_t kMaxArgv0 = 256;
  // Who follows an output hears of it at most this often.
  static constexpr std::uint64_t kFollowMs = 50;
  using ClientId = LineServer::ClientId;
  using Variables = std::vector<std::pair<std::string, std::string>>;

  struct Ground {
    sys::Reactor& reactor;
    AuditLog& log;
    LineServer& server;
    sandbox::Inside& inside;
    const sys::OwnedFd& folder;        // for output
    const Variables& env;              // what each process gets
    const std::string& workdir;        // where each begins, unless it is asked for elsewhere
    std::uint64_t grace_ms = 0;        // between TERM and KILL
    std::function<void()> on_changed;  // one has begun or ended
  };
  // What it refers to outlives it.
  explicit SessionProcesses(Ground ground) : ground_(std::move(ground)) {}
  ~SessionProcesses();
  SessionProcesses(const SessionProcesses&) = delete;
  SessionProcesses& operator=(const SessionProcesses&) = delete;

  // Each answers the client, now or later.
  void run(ClientId client, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed);
  // The same for the session itself, detached: `on_begun` with its pid, unless it could not be started; `on_ended`
  // once, also then.
  using OnBegun = std::function<void(std::uint32_t)>;
  using OnEnded = std::function<void(const wire::ExitedProcess&)>;
  void run_for_session(const wire::RunProcess& request, OnBegun on_begun, OnEnded on_ended);
  // The same in another sandbox than the session's, attached. `on_ended` once; an error: it could not be begun, which
  // the client has been told. From then on `inside` is not spoken to any more, and the client waits for finish().
  struct Elsewhere {
    sandbox::Inside& inside;
    std::uint32_t pid = 0;  // what it is called here; those of the other sandbox are in use already
    Variables env = {};     // what it gets, besides its own
    std::function<void(Result<wire::ExitedProcess> exited)> on_ended;
  };
  // Above every pid that there is (PID_MAX_LIMIT of the kernel).
  static constexpr std::uint32_t kFirstElsewhere = 4'194'304;
  // Whether these are the descriptors that come with the request.
  static Result<> check_descriptors(const wire::RunProcess& request, const std::vector<sys::OwnedFd>& passed);
  // Returns its number, for finish().
  Result<std::uint64_t> run_elsewhere(ClientId client, const wire::RunProcess& request,
                                      std::vector<sys::OwnedFd> passed, Elsewhere place);
  // What its client hears last; also for one that has not ended, whose sandbox is gone. Harmless once it was called.
  void finish(std::uint64_t number, wire::Answer<wire::ExitedProcess> how);
  // By destination and reason.
  using Refused = std::map<std::string, std::uint64_t>;
  // What was refused since `before`.
  static void tell_refused(wire::ExitedProcess& exited, const audit::Tally& tally, const Refused& before);
  void list(ClientId client);
  void signal(ClientId client, const wire::SignalProcess& request);
  void feed(ClientId client, const wire::FeedProcess& request);
  void output(ClientId client, const wire::ReadOutput& request);
  void resize(ClientId client, const wire::ResizeTerminal& request);

  // The client is gone, or says no more: what is attached to it is killed.
  void client_ended(ClientId client);
  // To each that lives.
  void signal_all(int number);
  // That live.
  std::size_t living() const { return living_; }
  // Of those that have ended.
  std::uint64_t cpu_us() const { return cpu_us_; }

 private:
  struct Process {
    sandbox::Inside* inside = nullptr;  // where it lives, as long as it may be spoken to
    sandbox::Inside::Id id = 0;
    std::uint64_t number = 0;  // in the names of its files
    std::uint32_t pid = 0;     // 0: it has not begun
    std::string argv0;
    ClientId client = 0;  // 0: detached, or its client is gone
    bool detached = false;
    bool timed_out = false;
    bool terminal = false;
    std::string started;
    std::uint64_t started_ms = 0;
    sys::Reactor::TimerId timer = 0;  // of its timeout
    Refused refused_before;
    std::unique_ptr<KeptOutput> out = {};
    std::unique_ptr<KeptOutput> err = {};
    sys::OwnedFd feed = {};
    std::optional<wire::ExitedProcess> exited = {};
    OnBegun on_begun = {};
    OnEnded on_ended = {};
    std::uint32_t pid_elsewhere = 0;  // 0: it lives in the session's own sandbox
    std::function<void(Result<wire::ExitedProcess>)> on_ended_elsewhere = {};
  };
  struct Follower {
    std::uint64_t number = 0;  // of the process
    sys::Reactor::TimerId timer = 0;
    std::uint64_t told_ms = 0;
  };

  Result<> start(Process process, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed,
                 const Variables& env);
  Result<sandbox::Inside::Stdio> stdio_of(const wire::RunProcess& request, std::vector<sys::OwnedFd> passed,
                                          Process& process);
  Result<sandbox::Inside::Stdio> kept_stdio(const wire::RunProcess& request, Process& process);
  void begun(std::uint64_t number, Result<sandbox::Inside::Begun> begun, std::uint64_t timeout_ms);
  void ended(std::uint64_t number, const sandbox::Inside::Ended& ended);
  wire::ExitedProcess exit_of(const Process& process, const sandbox::Inside::Ended& ended);
  void on_timeout(std::uint64_t number);
  static void send_signal(const Process& process, int number);
  void remember(Process& process);
  void forget(std::uint64_t number);
  void make_room();
  Process* find(std::uint32_t pid);
  Process* find_detached(ClientId client, std::uint32_t pid);
  Process new_process(const wire::RunProcess& request);
  Refused refused_now();
  void grown(std::uint64_t number);
  void tell(ClientId client);
  wire::OutputInfo output_of(const Process& process) const;
  void refuse(ClientId client, wire::ErrorCode code, std::string message, std::string remedy = {});
  void no_such(ClientId client, std::uint32_t pid);
  void done(ClientId client);

  Ground ground_;
  std::uint64_t last_number_ = 0;
  std::size_t living_ = 0;
  std::uint64_t cpu_us_ = 0;
  KeptOutput::Budget budget_ = {.left = kMaxKept};
  sys::Reactor::TimerId making_room_ = 0;
  std::map<std::uint64_t, Process> processes_;  // by number
  std::map<std::uint32_t, std::uint64_t> by_pid_;
  std::deque<std::uint64_t> remembered_;
  std::map<ClientId, Follower> followers_;
};

}  // namespace weir::supervisor
