// Signals as events of the loop.
#pragma once

#include <functional>
#include <initializer_list>

#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::sys {

// Blocks the given signals for the process and hands each to the callback. The previous mask returns when it dies.
// SIGPIPE is ignored from here on: a closed pipe is an error value, not a death.
class SignalWatch {
 public:
  static Result<SignalWatch> create(Reactor& reactor, std::initializer_list<int> signals,
                                    std::function<void(int)> on_signal);
  SignalWatch(SignalWatch&&) noexcept;
  SignalWatch& operator=(SignalWatch&&) = delete;
  ~SignalWatch();

 private:
  struct State;
  explicit SignalWatch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::sys
