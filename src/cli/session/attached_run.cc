#include "cli/session/attached_run.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "cli/session/reach.h"
#include "sandbox/terminal.h"
#include "session/client.h"
#include "sys/errno.h"
#include "sys/reactor.h"
#include "sys/signals.h"

namespace weir::cli {
namespace {

// Between asking the process to end, as the caller was asked, and ending it: weir run's own default.
constexpr std::uint64_t kGraceMs = 2'000;
constexpr std::array kStandard = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};

Result<> refuse_folders() {
  for (const int fd : kStandard) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return sys::errno_error("cannot look at descriptor " + std::to_string(fd));
    if (!S_ISDIR(status.st_mode)) continue;
    return std::unexpected(
        Error("descriptor " + std::to_string(fd) + " is a folder of this machine, which no process inside may have")
            .with_remedy("redirect it to a file, a pipe or /dev/null"));
  }
  return {};
}

std::optional<winsize> window_size() {
  for (const int fd : kStandard) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0) return size;
  }
  return std::nullopt;
}

class AttachedRun {
 public:
  AttachedRun(const session::Registry& registry, session::Connection connection, sys::Reactor reactor)
      : registry_(registry),
        connection_(std::move(connection)),
        reactor_(std::move(reactor)),
        on_replies_([this](std::uint32_t) { on_replies(); }) {}

  Result<wire::ExitedProcess> run(wire::RunProcess request) {
    using Mode = sandbox::TerminalKeeper::Mode;
    flags_ = sandbox::StatusFlags::now();
    const Mode mode = request.terminal ? Mode::raw : Mode::as_is;
    WEIR_TRY(auto keeper, sandbox::TerminalKeeper::keep(STDIN_FILENO, mode));
    if (keeper) keeper_.emplace(std::move(*keeper));
    if (request.terminal) {
      if (const auto size = window_size()) {
        request.rows = size->ws_row;
        request.columns = size->ws_col;
      }
    }
    WEIR_CHECK_OK(watch_signals());
    const std::span<const int> passed = request.terminal ? std::span<const int>() : kStandard;
    WEIR_CHECK_OK(result_of(connection_.send(request, passed)));
    WEIR_CHECK_OK(reactor_.watch(connection_.fd(), EPOLLIN, on_replies_));
    WEIR_CHECK_OK(reactor_.run());
    finish();
    return std::move(ended_);
  }

 private:
  Result<> watch_signals() {
    WEIR_TRY(auto signals,
             sys::SignalWatch::create(reactor_,
                                      {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT},
                                      [this](int signal) { on_signal(signal); }));
    signals_.emplace(std::move(signals));
    return {};
  }

  void on_replies() {
    const auto read = connection_.read();
    if (!read) return end(std::unexpected(error_of(read.error())));
    while (auto answer = connection_.next()) {
      if (!*answer) return end(std::unexpected(error_of(std::move(*answer).error())));
      if (const auto* exited = (*answer)->as<wire::ExitedProcess>()) return end(*exited);
      const auto* started = (*answer)->as<wire::StartedProcess>();
      if (started == nullptr) return end(fail("the session answered something else than it was asked for"));
      pid_ = started->pid;
      // It may have said a word, and somebody acted on it, before its pid came here.
      for (const int signal : std::exchange(waiting_, {})) send_signal(signal);
      if ((*answer)->passed.empty()) continue;
      master_ = std::move((*answer)->passed.front());
      auto pump = sandbox::TerminalPump::start(reactor_, master_.get(), STDIN_FILENO, STDOUT_FILENO);
      if (!pump) return end(std::unexpected(std::move(pump).error()));
      pump_ = std::move(*pump);
    }
  }

  void on_signal(int signal) {
    if (signal == SIGWINCH) return resize();
    if (signal == SIGTSTP) return suspend();
    if (signal == SIGCONT) return resume();
    const bool begun = pid_.has_value();
    send_signal(signal);
    // An interactive program may live on after SIGINT or SIGQUIT; SIGTERM and SIGHUP mean the end, and so does every
    // one where nothing begins.
    if (begun && signal != SIGTERM && signal != SIGHUP) return;
    reactor_.at(reactor_.now_ms() + kGraceMs, [this, signal, begun] {
      if (!begun && pid_ && signal != SIGTERM && signal != SIGHUP) return;
      end(wire::ExitedProcess{.exit_code = 128 + signal, .signal = static_cast<std::uint32_t>(signal)});
    });
  }

  // One that has ended meanwhile, or a session that does not take it: the connection tells.
  void send_signal(int signal) {
    if (!pid_) return waiting_.push_back(signal);
    const auto sent = session::ask(registry_, connection_.id(), wire::SignalProcess{.pid = *pid_, .signal = signal},
                                   sys::monotonic_ms() + kGraceMs);
    static_cast<void>(sent);
  }

  void resize() {
    const auto size = window_size();
    if (size && master_.valid()) ::ioctl(master_.get(), TIOCSWINSZ, &*size);
  }

  // As weir run: the process is part of the caller's job.
  void suspend() {
    send_signal(SIGSTOP);
    const auto flags = sandbox::StatusFlags::now();
    flags_.put_back();
    if (keeper_) keeper_->suspend();
    sys::suspend_this_process();
    flags.put_back();
    resume();
  }

  void resume() {
    if (keeper_) keeper_->resume();
    resize();
    send_signal(SIGCONT);
  }

  void end(Result<wire::ExitedProcess> how) {
    ended_ = std::move(how);
    reactor_.stop();
  }

  // The end of the connection is the end of the process. Before the last words are taken from its terminal.
  void finish() {
    reactor_.forget(connection_.fd());
    connection_.close();
    if (pump_) pump_->drain();
    pump_.reset();
    flags_.put_back();
    keeper_.reset();
    signals_.reset();
  }

  const session::Registry& registry_;
  session::Connection connection_;
  sys::Reactor reactor_;
  sys::CallbackHandler on_replies_;
  sandbox::StatusFlags flags_;
  std::optional<sandbox::TerminalKeeper> keeper_;
  std::optional<sys::SignalWatch> signals_;
  std::optional<std::uint32_t> pid_;
  std::vector<int> waiting_;  // signals for a process that has not begun
  sys::OwnedFd master_;
  std::unique_ptr<sandbox::TerminalPump> pump_;
  Result<wire::ExitedProcess> ended_ = fail("the process was not waited for");
};

}  // namespace

Result<wire::ExitedProcess> run_attached(const session::Registry& registry, const std::string& who,
                                         wire::RunProcess request) {
  if (!request.terminal) WEIR_CHECK_OK(refuse_folders());
  WEIR_TRY(session::Connection connection, result_of(session::Connection::open(registry, who)));
  WEIR_TRY(sys::Reactor reactor, sys::Reactor::create());
  AttachedRun attached(registry, std::move(connection), std::move(reactor));
  return attached.run(std::move(request));
}

}  // namespace weir::cli
