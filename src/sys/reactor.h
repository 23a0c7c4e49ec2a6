// A single-threaded event loop over epoll, with deadlines.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// Milliseconds of CLOCK_MONOTONIC.
std::uint64_t monotonic_ms();

// Told when its descriptor is ready. Level-triggered unless it was watched with EPOLLET.
class EventHandler {
 public:
  virtual ~EventHandler() = default;
  // `events`: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLRDHUP.
  virtual void on_events(std::uint32_t events) = 0;
};

// An EventHandler made of a function.
class CallbackHandler : public EventHandler {
 public:
  explicit CallbackHandler(std::function<void(std::uint32_t)> callback) : callback_(std::move(callback)) {}
  void on_events(std::uint32_t events) override { callback_(events); }

 private:
  std::function<void(std::uint32_t)> callback_;
};

class Reactor {
 public:
  using TimerId = std::uint64_t;

  static Result<Reactor> create();

  // The handler must outlive its watch, which ends by forget() or when the descriptor closes. A handler that may be
  // destroyed while events are being delivered hands itself to retire() instead of being deleted.
  Result<> watch(int fd, std::uint32_t events, EventHandler& handler);
  void change(int fd, std::uint32_t events, EventHandler& handler);
  // Harmless for a descriptor that is not watched.
  void forget(int fd);

  // Destroys the object after the current round of events, so that an event already fetched finds it alive.
  template <class T>
  void retire(std::unique_ptr<T> object) {
    retired_.push_back(std::shared_ptr<void>(std::move(object)));
  }

  // Runs `action` once, at or after `deadline_ms` (monotonic_ms()).
  TimerId at(std::uint64_t deadline_ms, std::function<void()> action);
  void cancel(TimerId timer);

  // Runs `action` at the end of every round, until it is taken back: what the round gave rise to goes out together.
  using RoundId = std::uint64_t;
  RoundId after_each_round(std::function<void()> action);
  void forget_round(RoundId round);

  // Runs until stop(). The time of the current round is now_ms(), taken once per round.
  Result<> run();
  void stop() { running_ = false; }
  std::uint64_t now_ms() const { return now_ms_; }

 private:
  explicit Reactor(OwnedFd epoll) : epoll_(std::move(epoll)), now_ms_(monotonic_ms()) {}
  int next_timeout() const;
  void fire_timers();

  OwnedFd epoll_;
  std::uint64_t now_ms_;
  bool running_ = false;
  std::uint64_t next_timer_ = 1;
  std::map<std::pair<std::uint64_t, TimerId>, std::function<void()>> timers_;
  std::map<TimerId, std::uint64_t> deadlines_;
  std::vector<std::shared_ptr<void>> retired_;
  struct EndOfRound {
    RoundId id = 0;  // 0: taken back
    std::function<void()> action;
  };
  void end_round();
  RoundId next_round_ = 1;
  std::deque<EndOfRound> after_round_;  // one that is added meanwhile moves none
};

}  // namespace weir::sys
