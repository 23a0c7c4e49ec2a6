// How slow a reader may be for whom something is held that others wait for.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace weir::daemon {

// It is waited for kGrace altogether, and another second for each kBytesPerSecond that it took. Only the time counts in
// which it was waited for: what is slow on this side costs it nothing.
class Pace {
 public:
  using Duration = std::chrono::steady_clock::duration;
  static constexpr std::uint64_t kBytesPerSecond = 64u << 10;
  static constexpr Duration kGrace = std::chrono::seconds(30);

  void took(std::uint64_t bytes) { bytes_ += bytes; }
  void waited(Duration time) { waited_ += time; }
  // So much longer it is waited for.
  Duration left() const {
    const Duration earned = std::chrono::milliseconds(bytes_ * 1000 / kBytesPerSecond);
    return std::max(kGrace + earned - waited_, Duration::zero());
  }

 private:
  std::uint64_t bytes_ = 0;
  Duration waited_ = Duration::zero();
};

}  // namespace weir::daemon
