// One sandbox with one command from start to exit: the supervisor of `weir run`.
#pragma once

#include <memory>
#include <optional>

#include "sandbox/terminal.h"
#include "supervisor/live_sandbox.h"

namespace weir::supervisor {

class CommandRun {
 public:
  // As LiveSandbox.
  CommandRun(RunOptions options, std::vector<PublishedPort> ports, sys::Reactor& reactor, AuditLog& log,
             Result<sandbox::Sandbox> sandbox);

  void keep_changes_with(changes::Keeper& keeper) { live_.keep_changes_with(keeper); }

  // Starts everything, runs the loop, tears everything down.
  Ending run();

 private:
  Result<> start();
  Result<> keep_terminal();
  Result<> start_terminal();
  void on_exited(const sandbox::Sandbox::Exited& exited);
  void on_signal(int signal);
  void suspend();
  void resume();
  void on_timeout();
  void end_after_grace(const Ending& ending);

  RunOptions options_;
  sys::Reactor& reactor_;
  std::optional<sys::SignalWatch> signals_;
  sandbox::StatusFlags flags_ = sandbox::StatusFlags::now();
  std::optional<sandbox::TerminalKeeper> keeper_;
  std::unique_ptr<sandbox::TerminalPump> pump_;
  LiveSandbox live_;
  // Set when weir itself began to end the command: what is said when it is over.
  std::optional<Ending> reason_;
};

}  // namespace weir::supervisor
