#include "daemon/waiter.h"

#include <sys/epoll.h>

#include <algorithm>

#include "sys/errno.h"

namespace weir::daemon {

struct Waiter::State {
  State(const Executor& executor, int fd) : descriptor(executor), timer(executor) {
    boost::system::error_code failed;
    descriptor.assign(fd, failed);
    usable = !failed;
  }

  asio::posix::stream_descriptor descriptor;
  asio::steady_timer timer;
  // Which wait is going on: a time that was over before it was taken back must not end the next one.
  std::uint64_t turn = 0;
  bool late = false;
  bool usable = false;
};

Waiter::Waiter(const Executor& executor, int fd) : state_(std::make_shared<State>(executor, fd)) {}

Waiter::~Waiter() {
  ++state_->turn;
  state_->timer.cancel();
  // The descriptor is somebody else's to close.
  if (state_->usable) static_cast<void>(state_->descriptor.release());
}

Task<Waited> Waiter::readable(Deadline deadline) {
  return wait(asio::posix::stream_descriptor::wait_read, deadline);
}

Task<Waited> Waiter::writable(Deadline deadline) {
  return wait(asio::posix::stream_descriptor::wait_write, deadline);
}

Task<Waited> Waiter::wait(asio::posix::stream_descriptor::wait_type type, Deadline deadline) {
  const std::shared_ptr<State> state = state_;
  if (!state->usable) co_return Waited::failed;
  const std::uint64_t turn = ++state->turn;
  state->late = false;
  if (deadline != kNever) {
    state->timer.expires_at(deadline);
    state->timer.async_wait([state, turn](boost::system::error_code failed) {
      if (failed || state->turn != turn) return;
      state->late = true;
      state->descriptor.cancel();
    });
  }
  const auto [failed] = co_await state->descriptor.async_wait(type, kAsTuple);
  ++state->turn;
  state->timer.cancel();
  if (state->late) co_return Waited::late;
  co_return failed ? Waited::failed : Waited::ready;
}

bool Watch::Ready::has(int tag) const {
  return std::find(tags.begin(), tags.begin() + count, tag) != tags.begin() + count;
}

Result<Watch> Watch::create(const Executor& executor) {
  WEIR_TRY(sys::OwnedFd set, sys::checked_fd(::epoll_create1(EPOLL_CLOEXEC), "cannot make an epoll set"));
  return Watch(executor, std::move(set));
}

Result<> Watch::add(int fd, std::uint32_t events, int tag) {
  epoll_event event{};
  event.events = events;
  event.data.fd = tag;
  if (::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return sys::errno_error("cannot watch a descriptor");
  return {};
}

void Watch::remove(int fd) {
  ::epoll_ctl(set_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Task<Watch::Ready> Watch::wait(Deadline deadline) {
  Ready ready;
  co_await asio::post(asio::use_awaitable);
  while (true) {
    std::array<epoll_event, kMax> events{};
    const int count = ::epoll_wait(set_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) ready.tags[ready.count++] = events[static_cast<std::size_t>(i)].data.fd;
    if (ready.count > 0) co_return ready;
    const Waited waited = co_await waiter_->readable(deadline);
    if (waited == Waited::ready) continue;
    ready.late = true;
    co_return ready;
  }
}

Task<> sleep_until(Deadline deadline) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, deadline);
  const auto [failed] = co_await timer.async_wait(kAsTuple);
  static_cast<void>(failed);
}

}  // namespace weir::daemon
