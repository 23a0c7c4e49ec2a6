// Templates that ship with weir: names for what a sandbox of the host's programs can do.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace weir::image {

// What the host has to have for one; a template has as many rows as it has needs.
struct Recipe {
  std::string_view name;
  const char* needs;  // a file
  const char* remedy;
};

inline constexpr const char* kInterpreterRemedy =
    "apt install python3-numpy python3-pandas python3-matplotlib, or make a snapshot of that name (docs/snapshots.md)";
inline constexpr std::array kRecipes = {
    Recipe{"python", "/usr/bin/python3", "apt install python3"},
    Recipe{"code-interpreter", "/usr/bin/python3", "apt install python3"},
    Recipe{"code-interpreter", "/usr/lib/python3/dist-packages/numpy", kInterpreterRemedy},
    Recipe{"code-interpreter", "/usr/lib/python3/dist-packages/pandas", kInterpreterRemedy},
    Recipe{"code-interpreter", "/usr/lib/python3/dist-packages/matplotlib", kInterpreterRemedy},
};

constexpr bool ships_template(std::string_view name) {
  return std::ranges::any_of(kRecipes, [&](const Recipe& recipe) { return recipe.name == name; });
}

}  // namespace weir::image
