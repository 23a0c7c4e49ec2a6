// The languages that `weir script` and /v1/execute run: how each is recognised, and what is executed for it. The one
// table of them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::languages {

struct Language {
  std::string_view name;                           // "python", as lists and messages have it
  std::span<const std::string_view> aliases;       // other names, lower case
  std::span<const std::string_view> extensions;    // without the dot, lower case
  std::span<const std::string_view> interpreters;  // in a first line "#!/usr/bin/env python3", without a version
  std::string_view file_name;                      // of code that has none: "main.py"
  // One of these is needed, the first that is found is used. Searched on PATH, inside.
  std::span<const std::string_view> programs;
  // Commands for sh(1), fixed text: $p is the program that was found, $f the file, $@ the arguments, and after `folder`
  // $d is an empty folder. Empty: the only program runs the file by itself, and no shell is needed.
  std::string_view steps;
  std::string_view package;  // Debian's, that has the first program
};

std::span<const Language> all();

// Null where there is none. By a name or an alias, in letters of either case.
const Language* by_name(std::string_view name);
// By the extension of a file's name or path.
const Language* by_file_name(std::string_view path);
// By a first line that begins with "#!": by the name of the interpreter, env(1) and versions left aside.
const Language* by_first_line(std::string_view line);

// Of a name that is none: which there are, and the nearest one.
Error unknown(std::string_view name);

// What to execute for the file at `path` (absolute, inside) with `arguments`. No shell reads the code, the path or an
// argument: they are words of their own. What is compiled is built into a new folder below /tmp, or where TMPDIR says;
// a compiler that fails ends it with the compiler's exit code. Exit code 127: missing().
std::vector<std::string> command(const Language& language, std::string path, std::span<const std::string> arguments);

// Says which program is not there and the package that has it. Where a shell is needed it says so itself, on standard
// error; where none is, execve() of the first word of command() fails with ENOENT.
Error missing(const Language& language);

}  // namespace weir::languages
