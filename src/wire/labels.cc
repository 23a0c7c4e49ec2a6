#include "wire/labels.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "wire/json_fields.h"

namespace weir::wire {

namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_key(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabelKey && is_alphanumeric(text.front()) &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || std::string_view("_./-").contains(c); });
}

// In characters, as the schema counts: what goes on with 10xxxxxx begins none (UTF-8).
bool is_value(std::string_view text) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  const auto is_control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; };
  return static_cast<std::size_t>(std::ranges::count_if(text, begins)) <= kMaxLabelValue &&
         std::ranges::none_of(text, is_control);
}

}  // namespace

Result<> check_labels(const Labels& labels) {
  const auto wrong = [](const std::string& what) {
    return std::unexpected(Error(what).with_remedy(
        "write at most 64: a key of 63 letters, digits, '_', '.', '/', '-', each once, and a value "
        "of 256 characters"));
  };
  if (labels.size() > kMaxLabels) return wrong("too many labels");
  std::set<std::string_view> keys;
  for (const auto& [key, value] : labels) {
    if (!is_key(key)) return wrong(quoted_key(key.substr(0, 80)) + " is no key of a label");
    if (!is_value(value)) return wrong("the value of label " + quoted_key(key) + " can be none");
    if (!keys.insert(key).second) return wrong("label " + quoted_key(key) + " is there twice");
  }
  return {};
}

}  // namespace weir::wire
