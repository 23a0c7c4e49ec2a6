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

  // Before the loop runs: readable when a signal has come, and what hands those on that have.
  int fd() const;
  void take();

 private:
  struct State;
  explicit SignalWatch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Stops this process as ^Z does, SIGTSTP blocked or not, and returns when it was continued. A process that no shell
// would continue (an orphaned process group) is not stopped, and the call returns at once.
void suspend_this_process();

}  // namespace weir::sys
