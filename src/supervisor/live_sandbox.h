// A sandbox with everything that belongs to it while it lives: its network, the policy in force, its limits, the doors
// by which its owner speaks to it. What `weir run` and a session share.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/receipt.h"
#include "changes/keep.h"
#include "sandbox/sandbox.h"
#include "supervisor/network/network.h"
#include "supervisor/policy/control_socket.h"
#include "supervisor/policy/generations.h"
#include "supervisor/policy/seal_descriptor.h"
#include "supervisor/policy/sensitive_files.h"
#include "supervisor/record/audit_log.h"
#include "supervisor/run_options.h"
#include "sys/reactor.h"
#include "sys/signals.h"

namespace weir::supervisor {

// How a sandbox ended, for the exit code and the line that explains it.
struct Ending {
  int exit_code = kExitOwnFailure;
  std::optional<Error> error;  // the command's own end needs none
  std::vector<audit::LimitHit> limits = {};
  audit::FileChanges files = {};
  std::optional<Error> not_kept = {};  // what was written into overlays
};

class LiveSandbox {
 public:
  using OnExited = std::function<void(const sandbox::Sandbox::Exited&)>;

  // `ports`: bound already, for the options' publishes. `sandbox`: prepared with the options' spec, or why it could not
  // be: start() then fails with that. All that is referred to outlives it.
  LiveSandbox(const RunOptions& options, std::vector<PublishedPort> ports, sys::Reactor& reactor, AuditLog& log,
              Result<sandbox::Sandbox> sandbox);

  // Before start(): gets what was written into overlays.
  void keep_changes_with(changes::Keeper& keeper) { changes_ = &keeper; }

  // The doors, then the command (or init, where the sandbox lives on), then the network. `signals` are served meanwhile
  // and may end() it: it returns early then. `on_exited`: the command has ended by itself.
  Result<> start(sys::SignalWatch& signals, OnExited on_exited);
  // The command runs, or has.
  bool has_started() const { return started_; }

  // Valid from the constructor to tear_down(), where it could be prepared.
  sandbox::Sandbox* sandbox() { return sandbox_ ? &*sandbox_ : nullptr; }
  // Files are watched over (--sensitive), by a guard that can end this one sandbox and no other.
  bool guards_files() const { return sensitive_ && !sensitive_->is_released(); }
  // Null without a gateway and published ports.
  Generations* generations() { return generations_ ? &*generations_ : nullptr; }
  const Network* network() const { return network_.get(); }
  Network* network() { return network_.get(); }
  // A network beside the sandbox's own: with the same name servers and proxies, and another policy. `log` outlives it.
  Result<std::unique_ptr<Network>> network_beside(sandbox::Capture capture, std::shared_ptr<const sys::OwnedFd> policy,
                                                  dial::Recorder& log, Network::OnFailure on_failure) const;
  // Null where nothing is published.
  sandbox::GuestSockets* guest_sockets() { return guest_sockets_; }

  // Stops the loop; the first one counts.
  void end(Ending ending);
  void end_with(Error error) { end({.exit_code = kExitOwnFailure, .error = std::move(error)}); }
  bool has_ended() const { return ending_.has_value(); }

  // In the order of dataplane.md section 6; `once_dead` when nothing lives inside any more. After end().
  Ending tear_down(const std::function<void()>& once_dead);

 private:
  Result<> execute(sys::SignalWatch& signals);
  Result<std::shared_ptr<const sys::OwnedFd>> sealed_policy() const;
  Result<> open_control();
  std::vector<net::Endpoint> resolvers() const;
  Result<> start_network();
  Result<> watch_seal();
  Result<> guard_files();
  Result<> watch_sandbox();
  void on_sandbox_readable();
  void look_at_limits();
  void conclude_limits();
  void look_at_layers();

  const RunOptions& options_;
  std::vector<PublishedPort> ports_;  // until the network has them
  sys::Reactor& reactor_;
  AuditLog& log_;
  OnExited on_exited_;
  changes::Keeper* changes_ = nullptr;
  timespec begun_{};  // what is changed below an overlay later was changed meanwhile
  std::optional<sandbox::Sandbox> sandbox_;
  bool started_ = false;
  std::optional<Error> start_error_;
  std::vector<dial::EgressRoute> egress_;  // for the network
  std::unique_ptr<Network> network_;
  sandbox::GuestSockets* guest_sockets_ = nullptr;
  std::optional<Generations> generations_;
  std::unique_ptr<ControlSocket> control_;
  std::unique_ptr<ControlSocket> seal_socket_;
  std::unique_ptr<SealDescriptor> seal_;
  std::unique_ptr<SensitiveFiles> sensitive_;
  std::optional<sys::CallbackHandler> sandbox_handler_;
  std::optional<Ending> ending_;
};

// What the shell says of a process that ended so (a status of waitpid(2)).
int exit_code_of(int status);

}  // namespace weir::supervisor
