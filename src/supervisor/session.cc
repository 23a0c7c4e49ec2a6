#include "supervisor/session.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "base/quantity.h"
#include "changes/layer_changes.h"
#include "changes/run_outside.h"
#include "dial/resolv_conf.h"
#include "supervisor/egress_routes.h"
#include "supervisor/limit_report.h"
#include "supervisor/state_folder.h"
#include "sys/program_pages.h"

namespace weir::supervisor {

namespace {

constexpr int kExitMemory = 128 + SIGKILL;

std::string text_of_time(std::chrono::milliseconds time) {
  return duration_text(static_cast<std::uint64_t>(time.count()));
}

// What the shell says of a process that ended so.
int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// A time that is later than the stamp of everything changed before, and earlier than that of what is changed after the
// return. The kernel stamps files with a clock that stands still for a tick (kernel 6.13: or with a finer one), so it
// waits for the next: at most 10 ms.
timespec begin_of_changes() {
  const auto before = [](const timespec& one, const timespec& other) {
    return std::pair(one.tv_sec, one.tv_nsec) < std::pair(other.tv_sec, other.tv_nsec);
  };
  constexpr timespec kPart{.tv_sec = 0, .tv_nsec = 500'000};
  constexpr int kMostParts = 40;  // a clock that is set back does not hold the start up
  timespec begin{};
  ::clock_gettime(CLOCK_REALTIME, &begin);
  timespec stamp{};
  for (int i = 0; i < kMostParts; ++i) {
    ::clock_gettime(CLOCK_REALTIME_COARSE, &stamp);
    if (before(begin, stamp)) break;
    ::nanosleep(&kPart, nullptr);
  }
  return begin;
}

audit::FileChange report_of(const changes::LayerChange& change, const std::string& target) {
  return {.path = target + "/" + change.path,
          .kind = std::string(changes::name_of(change.kind)),
          .type = std::string(changes::name_of(change.type)),
          .bytes = change.bytes,
          .link_target = change.link_target,
          .runs_outside = changes::is_run_outside(target + "/" + change.path)};
}

}  // namespace

Session::Session(RunOptions options, std::vector<PublishedPort> ports, sys::Reactor& reactor, AuditLog& log,
                 Result<sandbox::Sandbox> sandbox)
    : options_(std::move(options)), ports_(std::move(ports)), reactor_(reactor), log_(log) {
  if (sandbox) {
    sandbox_.emplace(std::move(*sandbox));
  } else {
    start_error_ = std::move(sandbox).error();
  }
}

Session::Ending Session::run() {
  if (auto started = start(); !started) end_with(std::move(started).error());
  if (!ending_) {
    if (auto ran = reactor_.run(); !ran) end_with(std::move(ran).error());
  }
  tear_down();
  return *ending_;
}

Result<> Session::start() {
  WEIR_CHECK_OK(keep_terminal());
  if (start_error_) return std::unexpected(*start_error_);
  WEIR_CHECK_OK(open_control());
  WEIR_CHECK_OK(guard_files());
  WEIR_TRY(egress_, egress_routes(options_.egress_proxies));
  WEIR_CHECK_OK(execute());
  if (ending_) return {};
  WEIR_CHECK_OK(watch_seal());
  WEIR_CHECK_OK(start_network());
  WEIR_CHECK_OK(start_terminal());
  WEIR_CHECK_OK(watch_sandbox());
  reactor_.at(sys::monotonic_ms() + sys::kSettledMs, [] { sys::forget_program_pages(); });
  if (options_.timeout) {
    reactor_.at(sys::monotonic_ms() + static_cast<std::uint64_t>(options_.timeout->count()), [this] { on_timeout(); });
  }
  if (sandbox_->has_watched_limits()) look_at_limits();
  return {};
}

// Before the watch a signal has its default effect: it ends this process, and with it everything that was begun. The
// watch is there before the command, which may be signalled as soon as it has said a word.
Result<> Session::execute() {
  WEIR_TRY(auto signals, sys::SignalWatch::create(
                             reactor_, {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT},
                             [this](int signal) { on_signal(signal); }));
  signals_.emplace(std::move(signals));
  if (changes_ != nullptr) begun_ = begin_of_changes();
  WEIR_CHECK_OK(sandbox_->execute());
  while (!started_ && !ending_) {
    WEIR_TRY(started_, sandbox_->await_start(options_.spec, signals_->fd()));
    if (!started_) signals_->take();
  }
  return {};
}

Result<std::shared_ptr<const sys::OwnedFd>> Session::sealed_policy() const {
  if (options_.policy_file) return options_.policy_file;
  return sealed_image(options_.policy_image);
}

// Before the command: whoever starts it can speak to the sandbox as soon as the command has said a word. It is served
// by the event loop, when there is a network.
Result<> Session::open_control() {
  using Door = Generations::Door;
  const auto listen = [this](const std::string& path, Door door) {
    return ControlSocket::listen(reactor_, path, [this, door](const auto& request, auto answer) {
      generations_->serve(door, request, std::move(answer));
    });
  };
  if (!options_.control_path.empty()) {
    WEIR_TRY(control_, listen(options_.control_path, Door::control));
  }
  if (!options_.after) return {};
  WEIR_TRY(const std::string path, prepare_seal_socket(options_.spec.id));
  WEIR_TRY(seal_socket_, listen(path, Door::seal));
  return {};
}

// Before the command: from its first instruction no open goes unseen.
Result<> Session::guard_files() {
  if (options_.sensitive.empty()) return {};
  const auto touched = [this](const std::string& path) {
    generations_->enter_after({.name = Generations::kSensitive, .path = path},
                              [this](const Result<Generations::Change>&) { sensitive_->release(); });
  };
  const auto lost = [this](const std::string& why) { end_with(Error("the sandbox was ended: " + why)); };
  WEIR_TRY(sensitive_, SensitiveFiles::guard(reactor_, options_.sensitive, sandbox_->init_pidfd(),
                                             {.touched = touched, .lost = lost}));
  return {};
}

// Everybody inside may seal: it takes away, and from nobody else.
Result<> Session::watch_seal() {
  if (!options_.after) return {};
  const auto on_byte = [this] {
    generations_->enter_after({.name = Generations::kDescriptor},
                              [this](const Result<Generations::Change>& done) { seal_->answer(reply_line_of(done)); });
  };
  WEIR_TRY(seal_, SealDescriptor::watch(reactor_, sandbox_->take_seal(), on_byte));
  return {};
}

Result<> Session::start_network() {
  const bool captured = options_.spec.network == sandbox::Network::captured;
  if (!captured && ports_.empty()) return {};
  std::vector<net::Endpoint> resolvers = options_.dns_upstreams;
  if (captured && resolvers.empty()) resolvers = dial::host_resolvers();
  const auto lost = [this](const std::string& why) {
    end_with(Error(why + "; the sandbox was ended with its network"));
  };
  WEIR_TRY(auto image, sealed_policy());
  WEIR_TRY(network_, Network::create(reactor_, sandbox_->take_capture(), options_.spec.addresses, std::move(image),
                                     std::move(resolvers), std::move(egress_), log_, lost));
  const auto stuck = [this](const Error& error) {
    end_with(
        Error("the sandbox was ended: its [after] cannot be entered: " + error.what()).with_remedy(error.remedy()));
  };
  generations_.emplace(*network_, log_, options_.after, stuck);
  if (ports_.empty()) return {};
  WEIR_TRY(sandbox::GuestSockets* const sockets, sandbox_->serve_sockets(reactor_));
  return network_->publish(std::move(ports_), *sockets);
}

// The caller's terminal is as it was when this process ends, however it ends: with -t it is raw meanwhile, without it
// the command may set what it likes. Before the command starts, or its modes would be the ones that are kept.
Result<> Session::keep_terminal() {
  using Mode = sandbox::TerminalKeeper::Mode;
  WEIR_TRY(auto keeper, sandbox::TerminalKeeper::keep(STDIN_FILENO, options_.spec.terminal ? Mode::raw : Mode::as_is));
  if (keeper) keeper_.emplace(std::move(*keeper));
  return {};
}

Result<> Session::start_terminal() {
  if (!options_.spec.terminal) return {};
  sandbox_->forward_window_size();
  WEIR_TRY(pump_, sandbox::TerminalPump::start(reactor_, sandbox_->terminal(), STDIN_FILENO, STDOUT_FILENO));
  return {};
}

Result<> Session::watch_sandbox() {
  sandbox_handler_.emplace([this](std::uint32_t) { on_sandbox_readable(); });
  return reactor_.watch(sandbox_->control_fd(), EPOLLIN, *sandbox_handler_);
}

void Session::on_sandbox_readable() {
  const auto exited = sandbox_->on_control_readable();
  if (!exited) return end_with(exited.error());
  if (!exited->has_value()) return;
  auto error = (*exited)->not_executed;
  if (error && error->code() == ENOENT && options_.program_missing) error = options_.program_missing;
  end(reason_ ? *reason_ : Ending{.exit_code = exit_code_of((*exited)->status), .error = std::move(error)});
}

void Session::on_signal(int signal) {
  if (!sandbox_) return;
  if (signal == SIGWINCH) return sandbox_->forward_window_size();
  if (signal == SIGTSTP) return suspend();
  if (signal == SIGCONT) return resume();
  if (!started_) return end({.exit_code = 128 + signal, .error = {}});  // nothing there that could handle it
  sandbox_->forward_signal(signal);
  // An interactive program may live on after SIGINT or SIGQUIT; SIGTERM and SIGHUP mean the end.
  if (signal != SIGTERM && signal != SIGHUP) return;
  const Ending ended{.exit_code = 128 + signal, .error = {}};
  end_after_grace(ended);
}

// ^Z at the caller's terminal stops the job, and the command is part of it. SIGSTOP, because the kernel ignores SIGTSTP
// for whoever has no shell above (the command leads a session of its own).
void Session::suspend() {
  sandbox_->forward_signal(SIGSTOP);
  const auto flags = sandbox::StatusFlags::now();
  flags_.put_back();
  if (keeper_) keeper_->suspend();
  sys::suspend_this_process();
  flags.put_back();
  resume();
}

void Session::resume() {
  if (keeper_) keeper_->resume();
  sandbox_->forward_window_size();
  sandbox_->forward_signal(SIGCONT);
}

void Session::on_timeout() {
  const std::string time = text_of_time(*options_.timeout);
  reason_ = Ending{.exit_code = kExitTimeout,
                   .error = Error("the command was ended: it ran longer than --timeout " + time),
                   .limits = {{.limit = "timeout", .value = time}}};
  sandbox_->forward_signal(SIGTERM);
  end_after_grace(*reason_);
}

void Session::end_after_grace(const Ending& ending) {
  const auto grace = static_cast<std::uint64_t>(options_.grace.count());
  reactor_.at(reactor_.now_ms() + grace, [this, ending] { end(ending); });
}

// A limit that cannot be watched any more does not hold: the sandbox ends.
void Session::look_at_limits() {
  const auto exceeded = sandbox_->look_at_limits();
  if (!exceeded) return end_with(exceeded.error());
  if (*exceeded) return end({.exit_code = kExitMemory, .error = {}});
  reactor_.at(sys::monotonic_ms() + sandbox::Limiter::kWatchMs, [this] { look_at_limits(); });
}

// After the end of everything inside: the kernel's memory killer takes init as well, which by itself looks like a
// failure of weir.
void Session::conclude_limits() {
  for (const sandbox::LimitHit& hit : sandbox_->limits_reached()) {
    audit::LimitHit report = report_of(hit, options_.spec.limits);
    if (hit.limit == sandbox::LimitHit::Limit::memory) {
      ending_->exit_code = kExitMemory;
      ending_->error = Error(text_of(report));
    }
    ending_->limits.push_back(std::move(report));
  }
  for (const audit::LimitHit& hit : ending_->limits) {
    audit::Event event;
    event.type = audit::EventType::limit;
    event.limits = {hit};
    log_.record(std::move(event));
  }
}

// After the end of everything inside: nobody changes them any more.
void Session::look_at_layers() {
  for (const sandbox::Sandbox::Layer& layer : sandbox_->take_layers()) {
    const sandbox::Share& share = options_.spec.shares[layer.share];
    const changes::LayerChanges found = changes::changes_of(layer.folder, share.source);
    ending_->files.looked = true;
    ending_->files.left_out += found.left_out;
    for (const changes::LayerChange& change : found.changes)
      ending_->files.changes.push_back(report_of(change, share.target));
    if (changes_ == nullptr) continue;
    if (auto kept = changes_->add(layer.folder, share.source, begun_); !kept)
      ending_->not_kept = std::move(kept).error();
  }
}

void Session::end(Ending ending) {
  if (!ending_) ending_ = std::move(ending);
  reactor_.stop();
}

// Command and init first, then the gateway: a gateway killed while sockets of the sandbox live pins its namespace. A
// network that never had one is let go of while the kernel ends init, which takes as long.
void Session::tear_down() {
  control_.reset();
  seal_socket_.reset();
  if (sandbox_handler_ && sandbox_) reactor_.forget(sandbox_->control_fd());
  if (sandbox_) sandbox_->begin_kill();
  if (network_ && !network_->has_gateway()) network_.reset();
  if (sandbox_) sandbox_->kill();
  sensitive_.reset();
  if (pump_) pump_->drain();
  pump_.reset();
  flags_.put_back();
  keeper_.reset();
  if (sandbox_) conclude_limits();
  if (sandbox_) look_at_layers();
  network_.reset();
  log_.flush_roll_ups();
  sandbox_.reset();
  signals_.reset();
}

}  // namespace weir::supervisor
