#include "base/failure_line.h"

#include <cstddef>
#include <cstdint>

namespace weir {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

// Characters that steer a terminal or a line instead of standing in it, or that do not show: C0, C1, line separators,
// bidirectional marks, embeddings, overrides and isolates, zero-width spaces and joiners, the byte order mark.
bool is_steering(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

// Length of the well-formed, harmless UTF-8 sequence (RFC 3629 section 4) at `i`; 0 when there is none.
std::size_t harmless_sequence(std::string_view text, std::size_t i) {
  const std::uint32_t first = byte_at(text, i);
  if (first < 0x80) return is_steering(first) ? 0 : 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first < 0xe0 ? 2 : (first < 0xf0 ? 3 : 4);
  if (i + length > text.size()) return 0;
  std::uint32_t code = first & (0x7fu >> length);
  for (std::size_t k = 1; k < length; ++k) {
    const std::uint32_t next = byte_at(text, i + k);
    if ((next & 0xc0) != 0x80) return 0;
    code = (code << 6) | (next & 0x3f);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool outside = code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff);
  return overlong || outside || is_steering(code) ? 0 : length;
}

constexpr std::string_view kEllipsis = "...";

bool continues(char c) {
  return (static_cast<std::uint8_t>(c) & 0xc0) == 0x80;
}

// At most `max` bytes of printable text, without its middle: what it is about stands in front, why at the end. Cuts
// between characters.
std::string shortened(const std::string& text, std::size_t max) {
  if (text.size() <= max) return text;
  const std::size_t kept = max - kEllipsis.size();
  std::size_t front = kept / 3 * 2;
  std::size_t back = text.size() - (kept - front);
  while (front > 0 && continues(text[front])) --front;
  while (back < text.size() && continues(text[back])) ++back;
  return text.substr(0, front) + std::string(kEllipsis) + text.substr(back);
}

}  // namespace

std::string quoted(std::string_view text, std::size_t most) {
  return "'" + printable(text.substr(0, most)) + (text.size() > most ? "...'" : "'");
}

std::string printable(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t length = harmless_sequence(text, i); length > 0) {
      out += text.substr(i, length);
      i += length;
      continue;
    }
    const std::uint8_t byte = byte_at(text, i++);
    out += "\\x";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

std::string failure_line(const Error& error) {
  constexpr std::string_view kProgram = "weir: ";
  constexpr std::string_view kBetween = "; ";
  const std::string remedy = shortened(printable(error.remedy()), kMaxFailureLine / 2);
  std::string line(kProgram);
  line += shortened(printable(error.what()), kMaxFailureLine - kProgram.size() - kBetween.size() - remedy.size());
  if (!remedy.empty()) line.append(kBetween).append(remedy);
  return line + "\n";
}

}  // namespace weir
