#include "sys/boot_timer.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "sys/errno.h"

namespace weir::sys {

BootTimer::BootTimer(Reactor& reactor, OwnedFd fd, std::function<void()> action)
    : reactor_(reactor), fd_(std::move(fd)), handler_([this, act = std::move(action)](std::uint32_t) {
        std::uint64_t times = 0;
        if (::read(fd_.get(), &times, sizeof times) == sizeof times) act();
      }) {}

Result<std::unique_ptr<BootTimer>> BootTimer::create(Reactor& reactor, std::function<void()> action) {
  WEIR_TRY(OwnedFd fd, checked_fd(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK), "cannot make a timer"));
  std::unique_ptr<BootTimer> self(new BootTimer(reactor, std::move(fd), std::move(action)));
  WEIR_CHECK_OK(reactor.watch(self->fd_.get(), EPOLLIN, self->handler_));
  return self;
}

Result<> BootTimer::set(std::uint64_t delay_ms) {
  itimerspec moment{};
  moment.it_value.tv_sec = static_cast<time_t>(delay_ms / 1000);
  // All zero would clear it.
  moment.it_value.tv_nsec = static_cast<long>(delay_ms % 1000 * 1'000'000) + (delay_ms == 0 ? 1 : 0);
  if (::timerfd_settime(fd_.get(), 0, &moment, nullptr) != 0) return errno_error("cannot set a timer");
  return {};
}

void BootTimer::clear() {
  const itimerspec never{};
  ::timerfd_settime(fd_.get(), 0, &never, nullptr);
}

}  // namespace weir::sys
