#include "gateway/tcp/pipe_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace weir::gateway {

std::optional<Pipe> PipePool::borrow() {
  if (lent_ >= kMaxLent) return std::nullopt;
  if (!idle_.empty()) {
    Pipe pipe = std::move(idle_.back());
    idle_.pop_back();
    ++lent_;
    return pipe;
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return std::nullopt;
  Pipe pipe{.read_end = sys::OwnedFd(ends[0]), .write_end = sys::OwnedFd(ends[1])};
  // Over the budget the kernel refuses; the default capacity still does.
  if (::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, static_cast<int>(kWantedCapacity)) < 0) {
    pipe.capacity = 4096;
  } else {
    pipe.capacity = kWantedCapacity;
  }
  ++lent_;
  return pipe;
}

void PipePool::give_back(Pipe pipe) {
  --lent_;
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(pipe));
}

}  // namespace weir::gateway
