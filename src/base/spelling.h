// "Did you mean": the nearest valid spelling of a word that is not valid.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace weir {

// How many letters to insert, delete, replace or swap with their neighbour to get from `a` to `b`. Words are cut at 64
// bytes: longer ones are no typing mistakes of anything that weir knows, and the cost is quadratic.
std::size_t spelling_distance(std::string_view a, std::string_view b);

// The candidate that a person most likely meant, or "" when none is near: at most a third of the longer word may
// differ. The first of equally near ones wins.
std::string_view nearest_spelling(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace weir
