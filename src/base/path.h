// Paths as text.
#pragma once

#include <string_view>

namespace weir {

// Whether the path is the folder or lies below it: by their text, so both without "..", links and a slash at the end.
constexpr bool is_at_or_below(std::string_view folder, std::string_view path) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

}  // namespace weir
