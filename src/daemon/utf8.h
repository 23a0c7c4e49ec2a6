// Output of programs as JSON text: cut where characters end, exact bytes beside it where they are no UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::daemon {

// Well-formed UTF-8 (RFC 3629).
bool is_utf8(std::string_view text);

// How many bytes at the end of `text` are the beginning of a character whose rest may still come: 0 to 3.
std::size_t unfinished_bytes(std::string_view text);

// {"stdout":"..."} members for one text: `key`, and `key`_base64 where it is no UTF-8. Appended with a comma in front
// unless `json` ends with an opening brace.
enum class Exactness : std::uint8_t {
  both,     // the text with U+FFFD, and the exact bytes where the two differ
  one_key,  // one of the two
};
void append_output(std::string& json, std::string_view key, std::string_view bytes, Exactness exactness);

}  // namespace weir::daemon
