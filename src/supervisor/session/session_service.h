// The main process of a session that is a service: begun with it, and begun again when it ends (--bootstrap,
// --restart).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/ip_address.h"
#include "sandbox/network/guest_sockets.h"
#include "supervisor/session/session_options.h"
#include "supervisor/session/session_processes.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class SessionService {
 public:
  using Restart = SessionOptions::Restart;
  // Between an end and the next begin: twice as long each time, from the start again after a run of kSettledMs.
  static constexpr std::uint64_t kFirstPauseMs = 100;
  static constexpr std::uint64_t kLongestPauseMs = 30'000;
  static constexpr std::uint64_t kSettledMs = 10'000;
  // So long after it was begun a port that does not answer yet may still come.
  static constexpr std::uint64_t kStartingMs = 30'000;
  // A port that does not answer so long is closed.
  static constexpr std::uint64_t kAnswerMs = 1000;

  struct Ground {
    sys::Reactor& reactor;
    SessionProcesses& processes;
    sandbox::GuestSockets* sockets = nullptr;  // null where nothing is published
    std::vector<net::Port> ports;              // TCP ports inside that are published
    std::function<bool()> may_begin;           // not now: it waits until it may be begun again
  };
  // What it refers to outlives it. Nothing runs before begin().
  SessionService(Ground ground, std::string bootstrap, Restart restart)
      : ground_(std::move(ground)), bootstrap_(std::move(bootstrap)), restart_(restart) {}
  ~SessionService() { ground_.reactor.cancel(timer_); }
  SessionService(const SessionService&) = delete;
  SessionService& operator=(const SessionService&) = delete;

  void begin();
  // It is not begun again: the session ends.
  void end();
  // Whether it will be begun again by itself.
  bool is_waiting() const { return timer_ != 0; }

  // Healthy: it runs, and each published TCP port inside takes a connection. Called once, now or later, unless this
  // object goes before.
  void look(std::function<void(wire::ServiceInfo)> on_looked);
  // The same without a look inside.
  wire::ServiceInfo info() const;

 private:
  struct Look;
  void ended(const wire::ExitedProcess& how);
  void begin_again_at(std::uint64_t when_ms);
  std::string health(bool answers) const;

  Ground ground_;
  std::string bootstrap_;
  Restart restart_;
  bool runs_ = false;
  bool over_ = false;
  std::uint64_t restarts_ = 0;
  std::uint32_t pid_ = 0;  // of the one that runs, or of the last one
  std::uint64_t begun_ms_ = 0;
  std::uint64_t pause_ms_ = kFirstPauseMs;
  sys::Reactor::TimerId timer_ = 0;
};

}  // namespace weir::supervisor
