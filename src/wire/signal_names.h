// Signals by the names that people write (signal(7), Linux on x86-64).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::wire {

inline constexpr int kMaxSignal = 64;

// "TERM" or "15"; also "SIGTERM". 1 to kMaxSignal.
std::optional<int> signal_number(std::string_view text);
// "TERM"; a real-time signal by its number.
std::string signal_name(int number);

}  // namespace weir::wire
