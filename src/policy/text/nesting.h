// A bound on nesting that the TOML library does not have.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "policy/text/policy_file.h"

namespace weir::policy {

// Dots in one key. The library makes a table for each, and frees tables within tables by recursion: without a bound a
// line of dots overflows the stack. The format itself needs one dot.
inline constexpr std::size_t kMaxKeyDots = 64;

// Where a dot stands that is one too many; nothing for a text in which every key is within the bound. Dots in strings
// and comments do not count. The text need not be TOML.
std::optional<Position> excess_dot(std::string_view text);

}  // namespace weir::policy
