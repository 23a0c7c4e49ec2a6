// When a table looks for what is idle.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include "sys/reactor.h"

namespace weir::gateway {

class IdleSweep {
 public:
  // `timeout_ms`: how long something may be without a byte. `longest_ms`: between two looks.
  IdleSweep(sys::Reactor& reactor, std::uint64_t timeout_ms, std::uint64_t longest_ms)
      : reactor_(reactor), timeout_ms_(timeout_ms), longest_ms_(longest_ms) {}

  // Calls `end_idle` from the event loop, from now on for as long as it runs; both must live that long.
  void start(std::function<void()> end_idle) {
    end_idle_ = std::move(end_idle);
    look_later();
  }

  // What is idle by the new one ends as soon as if it had always been this one.
  void change_timeout(std::uint64_t timeout_ms) {
    timeout_ms_ = timeout_ms;
    reactor_.cancel(next_look_);
    look_later();
  }

  bool is_idle(std::uint64_t last_activity_ms) const { return reactor_.now_ms() - last_activity_ms > timeout_ms_; }

 private:
  // A short timeout is noticed with a tenth of it to spare.
  void look_later() {
    const std::uint64_t interval = std::clamp<std::uint64_t>(timeout_ms_ / 10, 10, longest_ms_);
    next_look_ = reactor_.at(reactor_.now_ms() + interval, [this] {
      end_idle_();
      look_later();
    });
  }

  sys::Reactor& reactor_;
  std::uint64_t timeout_ms_;
  std::uint64_t longest_ms_;
  std::function<void()> end_idle_;
  sys::Reactor::TimerId next_look_{};
};

}  // namespace weir::gateway
