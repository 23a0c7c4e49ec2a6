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

#include "sandbox/inside.h"
#include "supervisor/audit_log.h"
#include "supervisor/kept_output.h"
#include "supervisor/line_server.h"
#include "wire/session_reply.h"
#include "wire/session_request.h"

namespace weir::supervisor {

class SessionProcesses {
 public:
  // Detached ones that have ended and are remembered; the oldest is forgotten with its output.
  static constexpr std::size_t kMaxRemembered = 256;
  // What all outputs together may keep; where there is little left, the oldest that have ended are forgotten.
  static constexpr std::uint64_t kMaxKept = 256ull << 20;
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
  using Refused = std::map<std::string, std::uint64_t>;
  struct Process {
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
  };
  struct Follower {
    std::uint64_t number = 0;  // of the process
    sys::Reactor::TimerId timer = 0;
    std::uint64_t told_ms = 0;
  };

  Result<> start(Process process, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed);
  Result<sandbox::Inside::Stdio> stdio_of(const wire::RunProcess& request, std::vector<sys::OwnedFd> passed,
                                          Process& process);
  Result<sandbox::Inside::Stdio> kept_stdio(const wire::RunProcess& request, Process& process);
  void begun(std::uint64_t number, Result<sandbox::Inside::Begun> begun, std::uint64_t timeout_ms);
  void ended(std::uint64_t number, const sandbox::Inside::Ended& ended);
  wire::ExitedProcess exit_of(const Process& process, const sandbox::Inside::Ended& ended);
  void on_timeout(std::uint64_t number);
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
