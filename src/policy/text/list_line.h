// What the readers of the list formats share. Internal to this room.
#pragma once

#include <algorithm>
#include <expected>
#include <string>
#include <string_view>

#include "policy/compiled/source.h"
#include "policy/text/target.h"

namespace weir::policy {

// What one line came to; the error says why it is no denial.
using LineResult = std::expected<void, std::string>;

inline bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Takes the first word off the text; "" at the end.
inline std::string_view next_word(std::string_view& text) {
  text = trimmed(text);
  const auto end = std::ranges::find_if(text, is_blank);
  const std::string_view word(text.begin(), end);
  text.remove_prefix(word.size());
  return word;
}

inline LineResult add_listed(ListedNames& names, std::string_view name, NameScope scope) {
  const auto parsed = parse_host_name(name);
  if (!parsed) {
    const std::string& what = parsed.error().what();
    const std::size_t reason = what.find(": ");
    return std::unexpected("no host name" + (reason == std::string::npos ? std::string() : what.substr(reason)));
  }
  names.add(parsed->text(), scope);
  return {};
}

// "*.example.com" below, ".example.com" both, else exact.
inline LineResult add_written_name(ListedNames& names, std::string_view text) {
  if (text.starts_with("*.")) return add_listed(names, text.substr(2), NameScope::below);
  if (text.starts_with('.')) return add_listed(names, text.substr(1), NameScope::at_or_below);
  return add_listed(names, text, NameScope::exact);
}

// RPZ zones, line by line: what an owner means depends on the lines before it.
class RpzReader {
 public:
  explicit RpzReader(ListedNames& names) : names_(names) {}
  LineResult take(std::string_view line);
  // Behind the last line.
  LineResult finish() const;

 private:
  LineResult take_directive(std::string_view line);
  LineResult take_record(std::string_view type, std::string_view rest);
  LineResult begin_soa(std::string_view fields);
  LineResult take_soa(std::string_view line);
  LineResult deny_owner();
  std::string absolute(std::string_view owner) const;

  ListedNames& names_;
  std::string origin_;  // without the last dot; "" is not known
  std::string apex_;    // of the zone, as its SOA record says; "" is not known
  std::string owner_;   // as it was written last
  bool has_soa_ = false;
  unsigned soa_fields_ = 0;  // seen up to now
  bool in_soa_ = false;      // inside of its parentheses
};

}  // namespace weir::policy
