#include "sys/reactor.h"

#include <time.h>

#include <algorithm>
#include <array>

#include "sys/errno.h"

namespace weir::sys {

namespace {

// Enough to amortise the system call, small enough that a timer is not late.
constexpr int kEventsPerRound = 256;

}  // namespace

std::uint64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

Result<Reactor> Reactor::create() {
  WEIR_TRY(OwnedFd epoll, checked_fd(::epoll_create1(EPOLL_CLOEXEC), "cannot create an event loop"));
  return Reactor(std::move(epoll));
}

Result<> Reactor::watch(int fd, std::uint32_t events, EventHandler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return errno_error("cannot watch a descriptor");
  return {};
}

void Reactor::change(int fd, std::uint32_t events, EventHandler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  WEIR_ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

// Fails only for a descriptor that is not watched, which is what the caller wants it to be.
void Reactor::forget(int fd) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Reactor::TimerId Reactor::at(std::uint64_t deadline_ms, std::function<void()> action) {
  const TimerId timer = next_timer_++;
  timers_.emplace(std::pair(deadline_ms, timer), std::move(action));
  deadlines_.emplace(timer, deadline_ms);
  return timer;
}

void Reactor::cancel(TimerId timer) {
  const auto found = deadlines_.find(timer);
  if (found == deadlines_.end()) return;
  timers_.erase({found->second, timer});
  deadlines_.erase(found);
}

int Reactor::next_timeout() const {
  if (timers_.empty()) return -1;
  const std::uint64_t deadline = timers_.begin()->first.first;
  if (deadline <= now_ms_) return 0;
  return static_cast<int>(std::min<std::uint64_t>(deadline - now_ms_, 60'000));
}

// Timers that these timers set have to wait for the next round, even if they are due: descriptors come in between.
void Reactor::fire_timers() {
  const TimerId first_new = next_timer_;
  while (!timers_.empty() && timers_.begin()->first.first <= now_ms_ && timers_.begin()->first.second < first_new) {
    auto node = timers_.extract(timers_.begin());
    deadlines_.erase(node.key().second);
    node.mapped()();
  }
}

Reactor::RoundId Reactor::after_each_round(std::function<void()> action) {
  after_round_.push_back({.id = next_round_, .action = std::move(action)});
  return next_round_++;
}

// Its place stays until the end of the round: it may be the one that runs.
void Reactor::forget_round(RoundId round) {
  for (EndOfRound& each : after_round_) {
    if (each.id == round) each.id = 0;
  }
}

void Reactor::end_round() {
  for (std::size_t i = 0; i < after_round_.size(); ++i) {
    if (after_round_[i].id != 0) after_round_[i].action();
  }
  std::erase_if(after_round_, [](const EndOfRound& each) { return each.id == 0; });
}

Result<> Reactor::run() {
  running_ = true;
  now_ms_ = monotonic_ms();
  std::array<epoll_event, kEventsPerRound> events;
  while (running_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerRound, next_timeout());
    if (count < 0 && errno != EINTR) return errno_error("cannot wait for events");
    now_ms_ = monotonic_ms();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      static_cast<EventHandler*>(event.data.ptr)->on_events(event.events);
    }
    fire_timers();
    end_round();
    retired_.clear();
  }
  return {};
}

}  // namespace weir::sys
