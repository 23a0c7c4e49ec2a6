// What `weir script` runs: code, the language it is in, and how that is executed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "languages/language.h"
#include "sandbox/spec.h"

namespace weir::cli {

struct Script {
  const languages::Language* language = nullptr;
  std::string path;               // inside
  std::vector<std::string> argv;  // what is executed
  // What weir puts there; nothing where the file itself is visible (--here).
  std::optional<sandbox::ScriptFile> file;
};

// Code of up to this many bytes: init gets a copy of the memory it is in.
inline constexpr std::size_t kMaxScriptBytes = std::size_t{16} << 20;

// Reads the file, or standard input for "-". Errors name the file or the language.
Result<Script> read_script(const CommandLine& line, const Caller& caller);

}  // namespace weir::cli
