#include "base/quantity.h"

#include <array>
#include <limits>

namespace weir {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 5> kDurationUnits = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

// Far above any sensible deadline, far below what overflows a 64-bit count of nanoseconds.
constexpr std::uint64_t kMaxDurationMs = 100ULL * 365 * 86'400'000;

constexpr std::uint64_t kKibi = 1024;
constexpr std::uint64_t kKilo = 1000;
// Lower case: the text is folded before the look-up.
constexpr std::array<Unit, 14> kSizeUnits = {{{"", 1},
                                              {"b", 1},
                                              {"k", kKibi},
                                              {"kib", kKibi},
                                              {"kb", kKilo},
                                              {"m", kKibi* kKibi},
                                              {"mib", kKibi* kKibi},
                                              {"mb", kKilo* kKilo},
                                              {"g", kKibi* kKibi* kKibi},
                                              {"gib", kKibi* kKibi* kKibi},
                                              {"gb", kKilo* kKilo* kKilo},
                                              {"t", kKibi* kKibi* kKibi* kKibi},
                                              {"tib", kKibi* kKibi* kKibi* kKibi},
                                              {"tb", kKilo* kKilo* kKilo* kKilo}}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string folded(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Takes the digits at the front of `text`; false when there are none or they do not fit.
bool take_number(std::string_view& text, std::uint64_t& number) {
  std::size_t used = 0;
  number = 0;
  while (used < text.size() && is_digit(text[used])) {
    const auto digit = static_cast<std::uint64_t>(text[used] - '0');
    if (number > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return false;
    number = number * 10 + digit;
    ++used;
  }
  text.remove_prefix(used);
  return used > 0;
}

std::string_view take_letters(std::string_view& text) {
  std::size_t used = 0;
  while (used < text.size() && is_letter(text[used])) ++used;
  const std::string_view letters = text.substr(0, used);
  text.remove_prefix(used);
  return letters;
}

std::unexpected<Error> bad_duration(std::string_view text) {
  return std::unexpected(Error("'" + std::string(text) + "' is not a duration")
                             .with_remedy("write 10s, 1m30s, 500ms, 2h or a number of seconds"));
}

std::unexpected<Error> bad_size(std::string_view text) {
  return std::unexpected(
      Error("'" + std::string(text) + "' is not a size").with_remedy("write 512M, 1G, 200MB or a number of bytes"));
}

}  // namespace

Result<std::uint64_t> parse_duration_ms(std::string_view text) {
  std::string_view rest = text;
  std::uint64_t total = 0;
  std::size_t next_unit = 0;
  do {
    std::uint64_t number = 0;
    if (!take_number(rest, number)) return bad_duration(text);
    std::string_view name = take_letters(rest);
    if (name.empty() && rest.empty() && next_unit == 0) name = "s";
    while (next_unit < kDurationUnits.size() && kDurationUnits[next_unit].name != name) ++next_unit;
    if (next_unit == kDurationUnits.size()) return bad_duration(text);
    const std::uint64_t factor = kDurationUnits[next_unit++].factor;
    if (number > kMaxDurationMs / factor || total + number * factor > kMaxDurationMs) {
      return fail("the duration '" + std::string(text) + "' is longer than 100 years");
    }
    total += number * factor;
  } while (!rest.empty());
  return total;
}

Result<std::uint64_t> parse_size_bytes(std::string_view text) {
  std::string_view rest = text;
  std::uint64_t number = 0;
  if (!take_number(rest, number)) return bad_size(text);
  const std::string unit = folded(take_letters(rest));
  if (!rest.empty()) return bad_size(text);
  for (const Unit& known : kSizeUnits) {
    if (known.name != unit) continue;
    if (number > std::numeric_limits<std::uint64_t>::max() / known.factor) {
      return fail("the size '" + std::string(text) + "' does not fit into 64 bits");
    }
    return number * known.factor;
  }
  return bad_size(text);
}

std::string duration_text(std::uint64_t milliseconds) {
  std::string text;
  for (const Unit& unit : kDurationUnits) {
    if (milliseconds >= unit.factor) {
      text += std::to_string(milliseconds / unit.factor) + std::string(unit.name);
      milliseconds %= unit.factor;
    }
  }
  return text.empty() ? "0s" : text;
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::string_view kUnits = "KMGT";
  std::string unit;
  for (const char next : kUnits) {
    if (bytes == 0 || bytes % kKibi != 0) break;
    bytes /= kKibi;
    unit = next;
  }
  return std::to_string(bytes) + unit;
}

}  // namespace weir
