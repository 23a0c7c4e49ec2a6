// Waiting for descriptors without stopping the loop.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"
#include "daemon/asio.h"
#include "sys/owned_fd.h"

namespace weir::daemon {

enum class Waited : std::uint8_t { ready, late, failed };

// One descriptor that somebody else owns and keeps open as long as this lives.
class Waiter {
 public:
  // `fd`: anything that epoll(7) takes.
  Waiter(const Executor& executor, int fd);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  Task<Waited> readable(Deadline deadline);
  Task<Waited> writable(Deadline deadline);

 private:
  struct State;
  Task<Waited> wait(asio::posix::stream_descriptor::wait_type type, Deadline deadline);

  std::shared_ptr<State> state_;
};

// Several at once: an epoll(7) set that is itself waited for.
class Watch {
 public:
  static constexpr std::size_t kMax = 8;
  struct Ready {
    std::array<int, kMax> tags{};
    std::size_t count = 0;
    bool late = false;

    bool has(int tag) const;
  };

  static Result<Watch> create(const Executor& executor);
  // `events` as of epoll_ctl(2), level-triggered. A descriptor that epoll does not take (a regular file) is an error.
  Result<> add(int fd, std::uint32_t events, int tag);
  // Before it is closed.
  void remove(int fd);
  // At least one tag, or `late`. Others have their turn first, also where something is ready at once.
  Task<Ready> wait(Deadline deadline);

 private:
  Watch(const Executor& executor, sys::OwnedFd set)
      : set_(std::move(set)), waiter_(std::make_unique<Waiter>(executor, set_.get())) {}

  sys::OwnedFd set_;
  std::unique_ptr<Waiter> waiter_;
};

// Until `deadline`.
Task<> sleep_until(Deadline deadline);

}  // namespace weir::daemon
