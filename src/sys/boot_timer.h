// A moment that neither a clock that is set nor a machine that sleeps puts off (CLOCK_BOOTTIME, timerfd_create(2)).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::sys {

class BootTimer {
 public:
  // `action` runs at each moment that was set.
  static Result<std::unique_ptr<BootTimer>> create(Reactor& reactor, std::function<void()> action);
  ~BootTimer() { reactor_.forget(fd_.get()); }
  BootTimer(const BootTimer&) = delete;
  BootTimer& operator=(const BootTimer&) = delete;

  // Once, so many milliseconds from now, in place of what was set before; at once where it is 0.
  Result<> set(std::uint64_t delay_ms);
  void clear();

 private:
  BootTimer(Reactor& reactor, OwnedFd fd, std::function<void()> action);

  Reactor& reactor_;
  OwnedFd fd_;
  CallbackHandler handler_;
};

}  // namespace weir::sys
