#include "supervisor/command_run.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/quantity.h"

namespace weir::supervisor {

namespace {

std::string text_of_time(std::chrono::milliseconds time) {
  return duration_text(static_cast<std::uint64_t>(time.count()));
}

}  // namespace

CommandRun::CommandRun(RunOptions options, std::vector<PublishedPort> ports, sys::Reactor& reactor, AuditLog& log,
                       Result<sandbox::Sandbox> sandbox)
    : options_(std::move(options)),
      reactor_(reactor),
      live_(options_, std::move(ports), reactor, log, std::move(sandbox)) {}

Ending CommandRun::run() {
  if (auto started = start(); !started) live_.end_with(std::move(started).error());
  if (!live_.has_ended()) {
    if (auto ran = reactor_.run(); !ran) live_.end_with(std::move(ran).error());
  }
  Ending ending = live_.tear_down([this] {
    if (pump_) pump_->drain();
    pump_.reset();
    flags_.put_back();
    keeper_.reset();
  });
  signals_.reset();
  return ending;
}

// Before the watch a signal has its default effect: it ends this process, and with it everything that was begun. The
// watch is there before the command, which may be signalled as soon as it has said a word.
Result<> CommandRun::start() {
  WEIR_CHECK_OK(keep_terminal());
  WEIR_TRY(auto signals, sys::SignalWatch::create(
                             reactor_, {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT},
                             [this](int signal) { on_signal(signal); }));
  signals_.emplace(std::move(signals));
  WEIR_CHECK_OK(live_.start(*signals_, [this](const sandbox::Sandbox::Exited& exited) { on_exited(exited); }));
  if (live_.has_ended()) return {};
  WEIR_CHECK_OK(start_terminal());
  if (options_.timeout) {
    reactor_.at(sys::monotonic_ms() + static_cast<std::uint64_t>(options_.timeout->count()), [this] { on_timeout(); });
  }
  return {};
}

void CommandRun::on_exited(const sandbox::Sandbox::Exited& exited) {
  auto error = exited.not_executed;
  if (error && error->code() == ENOENT && options_.program_missing) error = options_.program_missing;
  live_.end(reason_ ? *reason_ : Ending{.exit_code = exit_code_of(exited.status), .error = std::move(error)});
}

// The caller's terminal is as it was when this process ends, however it ends: with -t it is raw meanwhile, without it
// the command may set what it likes. Before the command starts, or its modes would be the ones that are kept.
Result<> CommandRun::keep_terminal() {
  using Mode = sandbox::TerminalKeeper::Mode;
  WEIR_TRY(auto keeper, sandbox::TerminalKeeper::keep(STDIN_FILENO, options_.spec.terminal ? Mode::raw : Mode::as_is));
  if (keeper) keeper_.emplace(std::move(*keeper));
  return {};
}

Result<> CommandRun::start_terminal() {
  if (!options_.spec.terminal) return {};
  live_.sandbox()->forward_window_size();
  WEIR_TRY(pump_, sandbox::TerminalPump::start(reactor_, live_.sandbox()->terminal(), STDIN_FILENO, STDOUT_FILENO));
  return {};
}

void CommandRun::on_signal(int signal) {
  if (live_.sandbox() == nullptr) return;
  if (signal == SIGWINCH) return live_.sandbox()->forward_window_size();
  if (signal == SIGTSTP) return suspend();
  if (signal == SIGCONT) return resume();
  if (!live_.has_started())
    return live_.end({.exit_code = 128 + signal, .error = {}});  // nothing there that could handle it
  live_.sandbox()->forward_signal(signal);
  // An interactive program may live on after SIGINT or SIGQUIT; SIGTERM and SIGHUP mean the end.
  if (signal != SIGTERM && signal != SIGHUP) return;
  const Ending ended{.exit_code = 128 + signal, .error = {}};
  end_after_grace(ended);
}

// ^Z at the caller's terminal stops the job, and the command is part of it. SIGSTOP, because the kernel ignores SIGTSTP
// for whoever has no shell above (the command leads a session of its own).
void CommandRun::suspend() {
  live_.sandbox()->forward_signal(SIGSTOP);
  const auto flags = sandbox::StatusFlags::now();
  flags_.put_back();
  if (keeper_) keeper_->suspend();
  sys::suspend_this_process();
  flags.put_back();
  resume();
}

void CommandRun::resume() {
  if (keeper_) keeper_->resume();
  live_.sandbox()->forward_window_size();
  live_.sandbox()->forward_signal(SIGCONT);
}

void CommandRun::on_timeout() {
  const std::string time = text_of_time(*options_.timeout);
  reason_ = Ending{.exit_code = kExitTimeout,
                   .error = Error("the command was ended: it ran longer than --timeout " + time),
                   .limits = {{.limit = "timeout", .value = time}}};
  live_.sandbox()->forward_signal(SIGTERM);
  end_after_grace(*reason_);
}

void CommandRun::end_after_grace(const Ending& ending) {
  const auto grace = static_cast<std::uint64_t>(options_.grace.count());
  reactor_.at(reactor_.now_ms() + grace, [this, ending] { live_.end(ending); });
}

}  // namespace weir::supervisor
