// One sandbox from start to exit: the supervisor of `weir run`.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "audit/receipt.h"
#include "changes/keep.h"
#include "sandbox/sandbox.h"
#include "sandbox/terminal.h"
#include "supervisor/audit_log.h"
#include "supervisor/control_socket.h"
#include "supervisor/generations.h"
#include "supervisor/network.h"
#include "supervisor/run_options.h"
#include "supervisor/seal_descriptor.h"
#include "supervisor/sensitive_files.h"
#include "sys/reactor.h"
#include "sys/signals.h"

namespace weir::supervisor {

class Session {
 public:
  // How a sandbox ended, for the exit code and the line that explains it.
  struct Ending {
    int exit_code = kExitOwnFailure;
    std::optional<Error> error;  // the command's own end needs none
    std::vector<audit::LimitHit> limits = {};
    audit::FileChanges files = {};
    std::optional<Error> not_kept = {};  // what was written into overlays
  };

  // `ports`: bound already, for the options' publishes. `sandbox`: prepared with the options' spec, or why it could not
  // be: the session then ends with that.
  Session(RunOptions options, std::vector<PublishedPort> ports, sys::Reactor& reactor, AuditLog& log,
          Result<sandbox::Sandbox> sandbox);

  // Before run(): gets what was written into overlays. Must live as long.
  void keep_changes_with(changes::Keeper& keeper) { changes_ = &keeper; }

  // Starts everything, runs the loop, tears everything down in the order of dataplane.md section 6.
  Ending run();

 private:
  Result<> start();
  Result<> execute();
  Result<std::shared_ptr<const sys::OwnedFd>> sealed_policy() const;
  Result<> open_control();
  Result<> start_network();
  Result<> watch_seal();
  Result<> guard_files();
  Result<> keep_terminal();
  Result<> start_terminal();
  Result<> watch_sandbox();
  void on_sandbox_readable();
  void on_signal(int signal);
  void suspend();
  void resume();
  void on_timeout();
  void end_after_grace(const Ending& ending);
  void look_at_limits();
  void conclude_limits();
  void look_at_layers();
  void end(Ending ending);
  void end_with(Error error) { end({.exit_code = kExitOwnFailure, .error = std::move(error)}); }
  void tear_down();

  RunOptions options_;
  std::vector<PublishedPort> ports_;  // until the network has them
  sys::Reactor& reactor_;
  AuditLog& log_;
  changes::Keeper* changes_ = nullptr;
  timespec begun_{};  // what is changed below an overlay later was changed meanwhile
  std::optional<sys::SignalWatch> signals_;
  sandbox::StatusFlags flags_ = sandbox::StatusFlags::now();
  std::optional<sandbox::TerminalKeeper> keeper_;
  std::optional<sandbox::Sandbox> sandbox_;
  bool started_ = false;  // the command runs, or has
  std::optional<Error> start_error_;
  std::unique_ptr<sandbox::TerminalPump> pump_;
  std::vector<dial::EgressRoute> egress_;  // for the network
  std::unique_ptr<Network> network_;
  std::optional<Generations> generations_;
  std::unique_ptr<ControlSocket> control_;
  std::unique_ptr<ControlSocket> seal_socket_;
  std::unique_ptr<SealDescriptor> seal_;
  std::unique_ptr<SensitiveFiles> sensitive_;
  std::optional<sys::CallbackHandler> sandbox_handler_;
  std::optional<Ending> ending_;
  // Set when weir itself began to end the command: what is said when it is over.
  std::optional<Ending> reason_;
};

}  // namespace weir::supervisor
