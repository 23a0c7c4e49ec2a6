// So many at a time; the others wait in the order in which they came.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

#include "daemon/asio.h"

namespace weir::daemon {

class Turnstile {
 public:
  explicit Turnstile(std::size_t places) : free_(places) {}

  // A place, given back when it dies; does not outlive its Turnstile.
  class Place {
   public:
    explicit Place(Turnstile& turnstile) : turnstile_(&turnstile) {}
    Place(Place&& other) noexcept : turnstile_(std::exchange(other.turnstile_, nullptr)) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (turnstile_ != nullptr) turnstile_->leave();
    }

   private:
    Turnstile* turnstile_;
  };

  Task<Place> enter();

 private:
  void leave();

  std::size_t free_;
  std::deque<std::shared_ptr<asio::steady_timer>> waiting_;
};

}  // namespace weir::daemon
