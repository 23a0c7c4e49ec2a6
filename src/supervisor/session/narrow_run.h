// One process of a session that has a narrower network of its own (docs/decisions/0021): a second sandbox with the
// session's ids, over the session's files, with namespaces and a gateway of its own. It ends with its process, and with
// it all that the process left behind.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/sandbox.h"
#include "supervisor/live_sandbox.h"
#include "supervisor/session/line_server.h"
#include "supervisor/session/run_policy.h"
#include "supervisor/session/run_record.h"
#include "supervisor/session/session_processes.h"
#include "supervisor/session/written_files.h"
#include "sys/child_process.h"
#include "sys/reactor.h"
#include "wire/session_error.h"
#include "wire/session_request.h"

namespace weir::supervisor {

class NarrowRun {
 public:
  using ClientId = LineServer::ClientId;
  // So long the session's processes have to end that are about to: a shell's last child, say.
  static constexpr std::uint64_t kEmptyPatienceMs = 250;
  static constexpr std::uint64_t kLookAgainMs = 5;
  // Of those that live there, so many are named.
  static constexpr std::size_t kMostNamed = 16;
  // So much of why it failed is recorded.
  static constexpr std::size_t kMaxRecordedError = 512;
  // Until the second sandbox stands.
  static constexpr std::uint64_t kStartPatienceMs = 60'000;
  // Until everything in it that was killed is gone. What is not gone after that lives: its session is ended.
  static constexpr std::uint64_t kEndPatienceMs = 60'000;
  // Until what it wrote is kept: others, who live by then, can stop the process that takes it over.
  static constexpr std::uint64_t kKeepPatienceMs = 300'000;

  struct Ground {
    sys::Reactor& reactor;
    AuditLog& log;
    LineServer& server;
    SessionProcesses& processes;
    LiveSandbox& live;
    sandbox::Inside& inside;  // of the session
    const RunOptions& run;
    std::uint64_t number = 0;                              // of this one, from 1
    std::function<bool()> files_are_open;                  // somebody reads or writes files of the session
    std::function<void(const std::string& mode)> on_keep;  // what it wrote becomes the session's, in part at least
    std::function<void()> on_over;  // everything of it is gone, and its client knows; the object may go
  };
  // Answers the client, now or later, and calls on_over, later. `policy`: that of the request.
  NarrowRun(Ground ground, ClientId client, wire::RunProcess request, std::vector<sys::OwnedFd> passed,
            RunPolicy policy);
  // Whatever lives of it is killed; nobody is told.
  ~NarrowRun();
  NarrowRun(const NarrowRun&) = delete;
  NarrowRun& operator=(const NarrowRun&) = delete;

  void begin();
  // The session's processes have it among them.
  bool has_process() const { return process_ != 0; }
  // The client is gone: so is the process.
  void client_ended(ClientId client);
  // Ends it, and its client is told why.
  void end(wire::Refusal why);
  // The session's policy is narrower now. `done` when this one is as well, or has ended.
  void follow(const policy::Image& session, Network::OnTaken done);

 private:
  enum class State : std::uint8_t { waiting, starting, running, ending, keeping, over };

  bool has_ended() const { return state_ == State::ending || state_ == State::keeping || state_ == State::over; }
  void look_for_others();
  void freeze();
  Result<> suspend();
  void thaw();
  void start();
  Result<> prepare();
  sandbox::Spec spec() const;
  void on_control();
  void started();
  Result<> begin_process();
  Result<> start_network();
  Result<> record_start();
  void look_at_limits();
  void process_ended(Result<wire::ExitedProcess> exited);
  void fail(const Error& error);
  void wind_up();
  void kill();
  void on_dead();
  void hear_out();
  void report_limits();
  void conclude();
  void record_end();
  bool keeps_files() const;
  void keep();
  Result<> begin_copy(const sys::OwnedFd& to);
  void on_copied();
  void merged(const Result<>& how);
  void kept(Result<> how);
  void tell();
  void adopt(RunPolicy next);
  Result<> follow(RunPolicy next, const Network::OnTaken& done);

  Ground ground_;
  ClientId client_;
  wire::RunProcess request_;
  std::vector<sys::OwnedFd> passed_;
  RunPolicy policy_;
  RunRecord record_;
  sandbox::Spec spec_;
  State state_ = State::waiting;
  std::uint64_t deadline_ = 0;
  sys::Reactor::TimerId timer_ = 0;  // of looking, of the start, of the end, of keeping
  sys::Reactor::TimerId limits_timer_ = 0;
  sys::CallbackHandler on_control_;
  sys::CallbackHandler on_dead_;
  std::optional<sandbox::Sandbox> sandbox_;
  std::unique_ptr<Network> network_;
  std::optional<WrittenFiles> written_;  // where they may be kept
  sys::ChildProcess copier_;
  sys::OwnedFd copied_;  // what the copier says
  std::string copier_error_;
  bool copier_did_it_ = false;
  sandbox::Inside::Id keeping_ = 0;  // the task that takes it over
  bool is_merged_ = false;           // it says that it has, and the copier is waited for
  sys::CallbackHandler on_copied_;
  std::uint64_t generation_ = 1;  // of its policy, for its gateway
  bool frozen_ = false;           // the session's processes, or they are about to be
  bool suspended_ = false;        // the session's network
  std::uint64_t process_ = 0;     // its number, once it was asked for
  bool recorded_ = false;         // that it began
  std::optional<wire::Answer<wire::ExitedProcess>> how_;
  std::vector<Network::OnTaken> following_;  // who waits until it has followed
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace weir::supervisor
