// How weir says that it failed itself: one line, whatever the operands contain.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir {

// Control characters (newline, escape sequences, C1), bidirectional and zero-width characters and bytes that are not
// UTF-8 become \xNN: they may come from file names, arguments or the guest, and shall neither break the line nor speak
// to the terminal nor turn its reading order around nor hide. Other UTF-8 passes.
std::string printable(std::string_view text);

// The same between quotes. Of what is longer than `most` bytes the beginning.
std::string quoted(std::string_view text, std::size_t most = std::string_view::npos);

// Bytes of a failure line without its newline: a few lines of a terminal, whatever a file or the guest put into it.
inline constexpr std::size_t kMaxFailureLine = 400;

// "weir: what: why; remedy" with a newline at the end, for stderr. What is too long loses its middle; the remedy, up to
// half of the line, stays whole.
std::string failure_line(const Error& error);

}  // namespace weir
