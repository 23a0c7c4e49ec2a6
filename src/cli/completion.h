// What a shell offers when the user asks for the rest of a word, from the option table.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::cli {

enum class Shell : std::uint8_t { bash, zsh, fish };
Result<Shell> parse_shell(std::string_view name);

// The script that makes `shell` ask weir. It is a small function: what may stand where is asked at every completion.
std::string_view completion_script(Shell shell);

// What may stand in place of the last of `words` (the command line without "weir"; the last word may be empty). The
// first line says where the shell looks:
//   words            nowhere else: every further line is "WORD<tab>meaning", and begins with what stands there already
//   files <PREFIX>   the files of this machine, for what stands after PREFIX; further lines are words as above
//   command <N>      what it would offer for the command that begins with the word number N (from 0)
std::string complete(std::span<const std::string> words);

}  // namespace weir::cli
