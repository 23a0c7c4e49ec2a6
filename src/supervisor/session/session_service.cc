#include "supervisor/session/session_service.h"

#include <algorithm>

#include "net/loopback.h"

namespace weir::supervisor {

void SessionService::begin() {
  timer_ = 0;
  runs_ = true;
  begun_ms_ = sys::monotonic_ms();
  // In the words of a process other users of the machine could read it.
  static constexpr const char* kBegin = "set -- \"$WEIR_BOOTSTRAP\"; unset WEIR_BOOTSTRAP; eval \"shift; $1\"";
  const wire::RunProcess request{
      .argv = {"/bin/sh", "-c", kBegin}, .env = {{"WEIR_BOOTSTRAP", bootstrap_}}, .detach = true};
  ground_.processes.run_for_session(
      request, [this](std::uint32_t pid) { pid_ = pid; }, [this](const wire::ExitedProcess& how) { ended(how); });
}

void SessionService::end() {
  over_ = true;
  ground_.reactor.cancel(std::exchange(timer_, 0));
}

void SessionService::ended(const wire::ExitedProcess& how) {
  runs_ = false;
  if (over_ || restart_ == Restart::no || (restart_ == Restart::on_failure && how.exit_code == 0)) {
    over_ = true;
    return;
  }
  const std::uint64_t now = sys::monotonic_ms();
  if (now - begun_ms_ >= kSettledMs) pause_ms_ = kFirstPauseMs;
  begin_again_at(now + pause_ms_);
  pause_ms_ = std::min(pause_ms_ * 2, kLongestPauseMs);
}

void SessionService::begin_again_at(std::uint64_t when_ms) {
  timer_ = ground_.reactor.at(when_ms, [this] {
    if (!ground_.may_begin()) return begin_again_at(sys::monotonic_ms() + kFirstPauseMs);
    ++restarts_;
    begin();
  });
}

std::string SessionService::health(bool answers) const {
  if (!runs_) return over_ ? "stopped" : "unhealthy";
  if (answers) return "healthy";
  return sys::monotonic_ms() - begun_ms_ < kStartingMs ? "starting" : "unhealthy";
}

wire::ServiceInfo SessionService::info() const {
  return {.bootstrap = bootstrap_,
          .restart = std::string(name_of(restart_)),
          .restarts = restarts_,
          .health = health(ground_.ports.empty()),
          .pid = pid_};
}

// One look at all ports: what has not answered when the last is done decides.
struct SessionService::Look {
  std::function<void(wire::ServiceInfo)> on_looked;
  std::size_t left = 0;
  bool answers = true;
};

void SessionService::look(std::function<void(wire::ServiceInfo)> on_looked) {
  if (!runs_ || ground_.ports.empty() || ground_.sockets == nullptr) return on_looked(info());
  auto all = std::make_shared<Look>(Look{.on_looked = std::move(on_looked), .left = ground_.ports.size()});
  for (const net::Port port : ground_.ports) {
    const net::Endpoint to{.address = net::kLoopback4, .port = port};
    ground_.sockets->open(net::Protocol::tcp, to, kAnswerMs, [this, all](const sandbox::GuestSockets::Opened& opened) {
      all->answers = all->answers && opened.socket.valid();
      if (--all->left != 0) return;
      wire::ServiceInfo found = info();
      found.health = health(all->answers);
      all->on_looked(std::move(found));
    });
  }
}

}  // namespace weir::supervisor
