#include "supervisor/live_sandbox.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <utility>

#include "changes/layer_changes.h"
#include "changes/run_outside.h"
#include "dial/resolv_conf.h"
#include "supervisor/network/egress_routes.h"
#include "supervisor/record/limit_report.h"
#include "supervisor/state_folder.h"
#include "sys/program_pages.h"

namespace weir::supervisor {

namespace {

constexpr int kExitMemory = 128 + SIGKILL;

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

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

LiveSandbox::LiveSandbox(const RunOptions& options, std::vector<PublishedPort> ports, sys::Reactor& reactor,
                         AuditLog& log, Result<sandbox::Sandbox> sandbox)
    : options_(options), ports_(std::move(ports)), reactor_(reactor), log_(log) {
  if (sandbox) {
    sandbox_.emplace(std::move(*sandbox));
  } else {
    start_error_ = std::move(sandbox).error();
  }
}

Result<> LiveSandbox::start(sys::SignalWatch& signals, OnExited on_exited) {
  on_exited_ = std::move(on_exited);
  if (start_error_) return std::unexpected(*start_error_);
  WEIR_CHECK_OK(open_control());
  WEIR_CHECK_OK(guard_files());
  WEIR_TRY(egress_, egress_routes(options_.egress_proxies));
  WEIR_CHECK_OK(execute(signals));
  if (ending_) return {};
  WEIR_CHECK_OK(watch_seal());
  WEIR_CHECK_OK(start_network());
  WEIR_CHECK_OK(watch_sandbox());
  reactor_.at(sys::monotonic_ms() + sys::kSettledMs, [] { sys::forget_program_pages(); });
  if (sandbox_->has_watched_limits()) look_at_limits();
  return {};
}

Result<> LiveSandbox::execute(sys::SignalWatch& signals) {
  if (changes_ != nullptr) begun_ = begin_of_changes();
  WEIR_CHECK_OK(sandbox_->execute());
  while (!started_ && !ending_) {
    WEIR_TRY(started_, sandbox_->await_start(options_.spec, signals.fd()));
    if (!started_) signals.take();
  }
  return {};
}

Result<std::shared_ptr<const sys::OwnedFd>> LiveSandbox::sealed_policy() const {
  if (options_.policy_file) return options_.policy_file;
  return sealed_image(options_.policy_image);
}

// Before the command: whoever starts it can speak to the sandbox as soon as the command has said a word. It is served
// by the event loop, when there is a network.
Result<> LiveSandbox::open_control() {
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
Result<> LiveSandbox::guard_files() {
  if (options_.sensitive.empty() || options_.stage.entered_after) return {};
  const auto touched = [this](const std::string& path) {
    generations_->enter_after({.name = Generations::kSensitive, .path = path},
                              [this](const Result<Generations::Change>& done) {
                                if (done) sensitive_->release();  // else everything inside is about to end
                              });
  };
  const auto lost = [this](const std::string& why) { end_with(Error("the sandbox was ended: " + why)); };
  WEIR_TRY(sensitive_, SensitiveFiles::guard(reactor_, options_.sensitive, sandbox_->init_pidfd(),
                                             {.touched = touched, .lost = lost}));
  return {};
}

// Everybody inside may seal: it takes away, and from nobody else.
Result<> LiveSandbox::watch_seal() {
  if (!options_.spec.seals) return {};
  const auto on_byte = [this] {
    generations_->enter_after({.name = Generations::kDescriptor},
                              [this](const Result<Generations::Change>& done) { seal_->answer(reply_line_of(done)); });
  };
  WEIR_TRY(seal_, SealDescriptor::watch(reactor_, sandbox_->take_seal(), on_byte));
  return {};
}

std::vector<net::Endpoint> LiveSandbox::resolvers() const {
  const bool captured = options_.spec.network == sandbox::Network::captured;
  return captured && options_.dns_upstreams.empty() ? dial::host_resolvers() : options_.dns_upstreams;
}

Result<std::unique_ptr<Network>> LiveSandbox::network_beside(sandbox::Capture capture,
                                                             std::shared_ptr<const sys::OwnedFd> policy,
                                                             dial::Recorder& log, Network::OnFailure on_failure) const {
  WEIR_TRY(auto egress, egress_routes(options_.egress_proxies));
  return Network::create(reactor_, std::move(capture), options_.spec.addresses, std::move(policy), resolvers(),
                         std::move(egress), log, std::move(on_failure));
}

Result<> LiveSandbox::start_network() {
  const bool captured = options_.spec.network == sandbox::Network::captured;
  if (!captured && ports_.empty()) return {};
  const auto lost = [this](const std::string& why) {
    end_with(Error(why + "; the sandbox was ended with its network"));
  };
  WEIR_TRY(auto image, sealed_policy());
  WEIR_TRY(network_, Network::create(reactor_, sandbox_->take_capture(), options_.spec.addresses, std::move(image),
                                     resolvers(), std::move(egress_), log_, lost));
  const auto stuck = [this](const Error& error) {
    end_with(
        Error("the sandbox was ended: its [after] cannot be entered: " + error.what()).with_remedy(error.remedy()));
  };
  generations_.emplace(*network_, log_, options_.after, stuck, options_.stage);
  if (ports_.empty()) return {};
  WEIR_TRY(guest_sockets_, sandbox_->serve_sockets(reactor_));
  return network_->publish(std::move(ports_), *guest_sockets_);
}

Result<> LiveSandbox::watch_sandbox() {
  sandbox_handler_.emplace([this](std::uint32_t) { on_sandbox_readable(); });
  return reactor_.watch(sandbox_->control_fd(), EPOLLIN, *sandbox_handler_);
}

void LiveSandbox::on_sandbox_readable() {
  const auto exited = sandbox_->on_control_readable();
  if (!exited) return end_with(exited.error());
  if (exited->has_value()) on_exited_(**exited);
}

// A limit that cannot be watched any more does not hold: the sandbox ends.
void LiveSandbox::look_at_limits() {
  const auto exceeded = sandbox_->look_at_limits();
  if (!exceeded) return end_with(exceeded.error());
  if (*exceeded) return end({.exit_code = kExitMemory, .error = {}});
  reactor_.at(sys::monotonic_ms() + sandbox::Limiter::kWatchMs, [this] { look_at_limits(); });
}

// After the end of everything inside: the kernel's memory killer takes init as well, which by itself looks like a
// failure of weir.
void LiveSandbox::conclude_limits() {
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
void LiveSandbox::look_at_layers() {
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

void LiveSandbox::end(Ending ending) {
  if (!ending_) ending_ = std::move(ending);
  reactor_.stop();
}

// Command and init first, then the gateway: a gateway killed while sockets of the sandbox live pins its namespace. A
// network that never had one is let go of while the kernel ends init, which takes as long.
Ending LiveSandbox::tear_down(const std::function<void()>& once_dead) {
  control_.reset();
  seal_socket_.reset();
  if (sandbox_handler_ && sandbox_) reactor_.forget(sandbox_->control_fd());
  if (sandbox_) sandbox_->begin_kill();
  if (network_ && !network_->has_gateway()) network_.reset();
  if (sandbox_) sandbox_->kill();
  sensitive_.reset();
  once_dead();
  if (sandbox_) conclude_limits();
  if (sandbox_) look_at_layers();
  network_.reset();
  log_.flush_roll_ups();
  sandbox_.reset();
  return std::move(*ending_);
}

}  // namespace weir::supervisor
