// Columns for people.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

// Each column as wide as its longest cell, two blanks between. Cells are escaped: names come from users, and the names
// of programs from guests.
class Table {
 public:
  explicit Table(std::initializer_list<std::string_view> titles);
  // As many cells as there are titles; an empty one becomes "-".
  void add(std::vector<std::string> cells);
  // Lines with the titles first, each with its newline.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "12 B", "3.4 KiB", "12 MiB".
std::string short_size(std::uint64_t bytes);
// "3 s", "12 min", "5 h", "8 d".
std::string short_time(std::uint64_t seconds);

}  // namespace weir::cli
