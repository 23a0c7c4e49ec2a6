#include "daemon/turnstile.h"

namespace weir::daemon {

Task<Turnstile::Place> Turnstile::enter() {
  if (free_ > 0) {
    --free_;
    co_return Place(*this);
  }
  const auto executor = co_await asio::this_coro::executor;
  // A timer that nobody lets expire: leave() takes it back, and hands its place on with that.
  const auto turn = std::make_shared<asio::steady_timer>(executor, kNever);
  waiting_.push_back(turn);
  const auto [taken_back] = co_await turn->async_wait(kAsTuple);
  static_cast<void>(taken_back);
  co_return Place(*this);
}

void Turnstile::leave() {
  if (waiting_.empty()) {
    ++free_;
    return;
  }
  const auto next = waiting_.front();
  waiting_.pop_front();
  next->cancel();
}

}  // namespace weir::daemon
