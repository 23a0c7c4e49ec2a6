// Character classes of RFC 9110 5.6.2. Inside the room only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace weir::wire::http1 {

constexpr std::uint8_t lower(std::uint8_t byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<std::uint8_t>(byte + ('a' - 'A')) : byte;
}

constexpr bool is_token_char(std::uint8_t byte) {
  const std::uint8_t folded = lower(byte);
  if ((folded >= 'a' && folded <= 'z') || (byte >= '0' && byte <= '9')) return true;
  return byte < 0x80 && std::string_view("!#$%&'*+-.^_`|~").contains(static_cast<char>(byte));
}

inline bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return is_token_char(static_cast<std::uint8_t>(c)); });
}

inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto fold = [](char c) { return lower(static_cast<std::uint8_t>(c)); };
  return std::ranges::equal(a, b, {}, fold, fold);
}

}  // namespace weir::wire::http1
