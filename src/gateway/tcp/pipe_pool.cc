#include "gateway/tcp/pipe_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace weir::gateway {

namespace {

// Over the budget of its user a new pipe has one page or two.
constexpr std::size_t kLeastCapacity = 4096;

// False when the kernel refuses: the budget is used up, or fs.pipe-max-size is less.
bool resize(Pipe& pipe, std::size_t capacity) {
  if (::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, static_cast<int>(capacity)) < 0) return false;
  pipe.capacity = capacity;
  return true;
}

}  // namespace

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
  const bool large = lent_ < kMaxLarge && resize(pipe, kLargeCapacity);
  if (!large && !resize(pipe, kCapacity)) pipe.capacity = kLeastCapacity;
  ++lent_;
  return pipe;
}

void PipePool::give_back(Pipe pipe) {
  --lent_;
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(pipe));
}

}  // namespace weir::gateway
