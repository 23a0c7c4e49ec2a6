#include "policy/text/json_text.h"

#include <optional>

namespace weir::policy {

namespace {

// The code point at the front of `text` and its length; nullopt if no well-formed UTF-8 begins there (RFC 3629).
struct Decoded {
  std::uint32_t point;
  std::size_t length;
};
std::optional<Decoded> decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return Decoded{first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return std::nullopt;
  std::uint32_t point = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return std::nullopt;
    point = (point << 6) | (byte(i) & 0x3fu);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point < kSmallest[length] || point > 0x10ffff || surrogate) return std::nullopt;
  return Decoded{point, length};
}

std::string escape_unit(std::uint32_t unit) {
  std::string out = "\\u0000";
  for (std::size_t i = 0; i < 4; ++i) out[5 - i] = "0123456789abcdef"[(unit >> (4 * i)) & 0xf];
  return out;
}

}  // namespace

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto decoded = decode_utf8(text).value_or(Decoded{0xfffd, 1});
    text.remove_prefix(decoded.length);
    const std::uint32_t point = decoded.point;
    if (point == '"' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (point >= 0x20 && point < 0x7f) {
      out += static_cast<char>(point);
    } else if (point < 0x10000) {
      out += escape_unit(point);
    } else {
      out += escape_unit(0xd800 + ((point - 0x10000) >> 10));
      out += escape_unit(0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  return out + "\"";
}

JsonText& JsonText::add_raw(std::string_view key, std::string_view json) {
  separate();
  text_ += json_quote(key);
  text_ += ':';
  text_ += json;
  return *this;
}

JsonText& JsonText::push_raw(std::string_view json) {
  separate();
  text_ += json;
  return *this;
}

void JsonText::separate() {
  if (text_.size() > 1) text_ += ',';
}

}  // namespace weir::policy
