// How weir says that it failed itself: one line, whatever the operands contain.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace weir {

// Control characters (newline, escape sequences, C1), bidirectional overrides and bytes that are not UTF-8 become \xNN:
// they may come from file names, arguments or the guest, and shall neither break the line nor speak to the terminal nor
// turn its reading order around. Other UTF-8 passes.
std::string printable(std::string_view text);

// "weir: what: why; remedy" with a newline at the end, for stderr.
std::string failure_line(const Error& error);

}  // namespace weir
