// What two texts differ in, for people.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weir::changes {

// Of one side; and of the table that is filled for what lies between the first and the last difference.
inline constexpr std::size_t kMaxDiffBytes = 256u << 10;
inline constexpr std::size_t kMaxDiffCells = 4u << 20;

// Hunks of a unified diff with three lines of context; what a guest chose is escaped, so that it speaks to nobody's
// terminal and is no input for patch(1) where it held more than plain text. Nothing: one is no text (holds a NUL), too
// large, or they differ in too much. Empty: they are the same.
std::optional<std::string> unified_diff(std::string_view before, std::string_view after);

}  // namespace weir::changes
