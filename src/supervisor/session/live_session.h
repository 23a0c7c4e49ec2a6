// A live session (docs/decisions/0018): a sandbox that lives on, and the socket on which its owner asks for processes,
// files and a narrower policy.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "session/registry.h"
#include "supervisor/live_sandbox.h"
#include "supervisor/session/line_server.h"
#include "supervisor/session/narrow_run.h"
#include "supervisor/session/session_files.h"
#include "supervisor/session/session_options.h"
#include "supervisor/session/session_processes.h"
#include "supervisor/session/session_service.h"
#include "supervisor/session/session_sleep.h"
#include "supervisor/session/session_snapshots.h"
#include "sys/boot_timer.h"

namespace weir::supervisor {

class LiveSession : private LineServer::Owner {
 public:
  // Connections at a time; beyond it `too_many`.
  static constexpr std::size_t kMaxClients = 256;
  // Of them, those that only requests which are answered at once may have: what is held for long does not keep its
  // owner from looking, narrowing and ending.
  static constexpr std::size_t kShortPlaces = 16;

  // As LiveSandbox; `folder` is the session's own. All outlive it.
  LiveSession(const SessionOptions& options, const session::OwnFolder& folder, std::vector<PublishedPort> ports,
              sys::Reactor& reactor, AuditLog& log, Result<sandbox::Sandbox> sandbox);
  ~LiveSession() override;

  // Until it stands: the sandbox lives, the socket is there, session.json says so.
  Result<> start();
  // What `show` says.
  wire::SessionInfo info();
  // Serves until the session ends, then tears it down. Connections are open until everything inside is gone.
  Ending run();
  // Ends it before it has run.
  Ending give_up(Error error);
  // After run(): its folder says that it is asleep.
  bool is_asleep() const { return asleep_; }

 private:
  using ClientId = LineServer::ClientId;
  enum class Grace : std::uint8_t { given, none };

  void on_line(ClientId client, std::uint64_t number, sys::LineStream::Line line) override;
  void on_end(ClientId client) override;
  std::string line_of(LineServer::Trouble trouble) override;
  void on_clients_changed() override { look_at_idleness(); }

  void serve(ClientId client, const wire::SessionRequest& request, std::vector<sys::OwnedFd> passed);
  void run_process(ClientId client, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed);
  void run_narrower(ClientId client, const wire::RunProcess& request, std::vector<sys::OwnedFd> passed);
  bool refuse_while_narrow(ClientId client);
  void show(ClientId client);
  void narrow(ClientId client, const wire::ControlRequest& request);
  void snapshot(ClientId client, const wire::MakeSnapshot& request);
  void stop(ClientId client, const wire::StopSession& request);
  void answer(ClientId client, const wire::SessionReply& reply);
  void begin_to_end(Grace grace);
  void look_at_idleness();
  void on_processes_changed();
  void on_idle();
  void start_idle_time();
  void prepare_sleep();
  SessionSnapshots::Policy policy_in_force();
  SessionSleep::InForce in_force();
  void stay_awake(const Error& why);
  void serve_held();
  Result<> start_timers();
  Result<> open_socket();
  void begin_service();
  void forget_inside();

  const SessionOptions& options_;
  const session::OwnFolder& folder_;
  sys::Reactor& reactor_;
  AuditLog& log_;
  std::string created_;
  std::uint64_t expires_at_ = 0;  // seconds since 1970, for people; the timer does not look at the wall's clock
  std::vector<std::string> ports_text_;
  std::optional<sys::SignalWatch> signals_;
  LiveSandbox live_;
  sandbox::Inside* inside_ = nullptr;  // the sandbox's, from start() on
  std::unique_ptr<sys::BootTimer> ttl_;
  std::unique_ptr<sys::BootTimer> idle_;
  bool is_idle_ = false;
  std::optional<std::uint64_t> idle_since_;  // boot time, ms; nothing: it is in use
  std::uint64_t put_off_ms_ = 0;             // since it could not fall asleep
  bool ending_ = false;
  bool asleep_ = false;
  std::string not_asleep_;  // why it could not fall asleep the last time
  // Who came while it fell asleep: served as soon as it moves again.
  struct Held {
    ClientId client = 0;
    std::uint64_t number = 0;
    sys::LineStream::Line line;
    bool ended = false;
  };
  std::vector<Held> held_;
  std::unique_ptr<LineServer> server_;
  std::unique_ptr<SessionProcesses> processes_;
  std::unique_ptr<SessionFiles> files_;
  std::unique_ptr<SessionSnapshots> snapshots_;
  std::unique_ptr<SessionService> service_;
  std::unique_ptr<SessionSleep> sleep_;
  std::unique_ptr<NarrowRun> narrow_run_;  // one at a time
  std::uint64_t narrow_runs_ = 0;
  std::string kept_mode_;  // the narrowest of those whose files were kept; empty: none, or not worth a taint
};

}  // namespace weir::supervisor
