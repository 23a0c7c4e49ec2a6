#include "daemon/turnstile.h"

#include <algorithm>

#include "daemon/principal.h"

namespace weir::daemon {

bool Turnstile::has_share(const std::string& owner) const {
  if (owner == kMachineOwnerKey) return true;
  const auto held = held_.find(owner);
  return held == held_.end() || held->second < room_.per_owner;
}

void Turnstile::take(const std::string& owner) {
  --free_;
  ++held_[owner];
}

Task<wire::Answer<Turnstile::Place>> Turnstile::enter(std::string owner) {
  if (free_ > 0 && has_share(owner)) {
    take(owner);
    co_return Place(*this, std::move(owner));
  }
  const auto none = [] {
    return wire::refuse(wire::ErrorCode::too_many, "as much is being done at once as may be", "come back in a moment");
  };
  const auto own = std::ranges::count_if(waiting_, [&](const auto& turn) { return turn->owner == owner; });
  if (static_cast<std::size_t>(own) >= room_.waiting) co_return none();
  const auto executor = co_await asio::this_coro::executor;
  const auto turn = std::make_shared<Turn>(owner, asio::steady_timer(executor, in_seconds(room_.seconds)));
  waiting_.push_back(turn);
  const auto [taken_back] = co_await turn->timer.async_wait(kAsTuple);
  static_cast<void>(taken_back);
  // leave() may have been there between the end of the time and this line: then it is a place all the same.
  if (turn->come) co_return Place(*this, std::move(owner));
  std::erase(waiting_, turn);
  co_return none();
}

void Turnstile::leave(const std::string& owner) {
  ++free_;
  const auto held = held_.find(owner);
  if (held != held_.end() && --held->second == 0) held_.erase(held);
  const auto next = std::ranges::find_if(waiting_, [&](const auto& turn) { return has_share(turn->owner); });
  if (next == waiting_.end()) return;
  const std::shared_ptr<Turn> turn = *next;
  waiting_.erase(next);
  turn->come = true;
  take(turn->owner);
  turn->timer.cancel();
}

}  // namespace weir::daemon
