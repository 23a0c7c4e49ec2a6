#include "net/domain_name.h"

#include <algorithm>

namespace weir::net {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}

// WHATWG URL "ends in a number": what inet_aton and its descendants would read as an address.
bool is_numeric_label(std::string_view label) {
  if (std::ranges::all_of(label, is_digit)) return true;
  return label.starts_with("0x") && std::ranges::all_of(label.substr(2), is_hex);
}

Error bad_name(std::string_view text, const char* why) {
  return Error("'" + std::string(text.substr(0, DomainName::kMaxLength)) + "' is not a host name: " + why);
}

}  // namespace

Result<DomainName> DomainName::parse(std::string_view text) {
  const std::string_view original = text;
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty()) return std::unexpected(bad_name(original, "it is empty"));
  if (text.size() > kMaxLength) return std::unexpected(bad_name(original, "it is longer than 253 characters"));
  std::string canonical;
  canonical.reserve(text.size());
  std::size_t label_start = 0;
  for (const char c : text) {
    if (c == '.') {
      if (canonical.size() == label_start) return std::unexpected(bad_name(original, "it has an empty label"));
      label_start = canonical.size() + 1;
      canonical += c;
      continue;
    }
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (!is_digit(lower) && !(lower >= 'a' && lower <= 'z') && lower != '-' && lower != '_') {
      return std::unexpected(bad_name(original, "only letters, digits, '-', '_' and '.' may stand in it"));
    }
    canonical += lower;
    if (canonical.size() - label_start > kMaxLabel) {
      return std::unexpected(bad_name(original, "a label is longer than 63 characters"));
    }
  }
  if (canonical.size() == label_start) return std::unexpected(bad_name(original, "it has an empty label"));
  if (is_numeric_label(std::string_view(canonical).substr(label_start))) {
    return std::unexpected(bad_name(original, "its last label is a number, so other software reads it as an address"));
  }
  return DomainName(std::move(canonical));
}

}  // namespace weir::net
