// So many at a time, and so many of each who comes; the others wait, in the order in which they came.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "daemon/asio.h"
#include "wire/session_error.h"

namespace weir::daemon {

class Turnstile {
 public:
  struct Room {
    std::size_t places;     // for all together
    std::size_t per_owner;  // of them for one; the machine's owner may have all
    std::size_t waiting;    // of one, besides
    unsigned seconds;       // so long somebody waits
  };
  explicit Turnstile(Room room) : room_(room), free_(room.places) {}

  // A place, given back when it dies; does not outlive its Turnstile.
  class Place {
   public:
    Place(Turnstile& turnstile, std::string owner) : turnstile_(&turnstile), owner_(std::move(owner)) {}
    Place(Place&& other) noexcept
        : turnstile_(std::exchange(other.turnstile_, nullptr)), owner_(std::move(other.owner_)) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (turnstile_ != nullptr) turnstile_->leave(owner_);
    }

   private:
    Turnstile* turnstile_;
    std::string owner_;
  };

  // `owner`: as owner_key() says. `too_many` where there is no place in time, or too many wait already.
  Task<wire::Answer<Place>> enter(std::string owner);

 private:
  struct Turn {
    std::string owner;
    asio::steady_timer timer;  // expires with the patience of who waits, and is taken back when it is its turn
    bool come = false;
  };
  bool has_share(const std::string& owner) const;
  void take(const std::string& owner);
  void leave(const std::string& owner);

  Room room_;
  std::size_t free_;
  std::map<std::string, std::size_t> held_ = {};
  std::deque<std::shared_ptr<Turn>> waiting_ = {};
};

}  // namespace weir::daemon
