#include "languages/language.h"

#include <algorithm>
#include <array>

#include "base/failure_line.h"
#include "base/spelling.h"

namespace weir::languages {
namespace {

template <std::size_t N>
using Words = std::array<std::string_view, N>;

constexpr Words<0> kNone = {};
constexpr Words<2> kPythonNames = {"py", "python3"};
constexpr Words<2> kPythonEndings = {"py", "pyw"};
constexpr Words<1> kPythonPrograms = {"python3"};
constexpr Words<1> kPython = {"python"};
constexpr Words<1> kShellNames = {"shell"};
constexpr Words<2> kBashEndings = {"sh", "bash"};
constexpr Words<1> kBash = {"bash"};
constexpr Words<1> kSh = {"sh"};
constexpr Words<3> kShInterpreters = {"sh", "dash", "ash"};
constexpr Words<3> kNodeNames = {"js", "node", "nodejs"};
constexpr Words<3> kNodeEndings = {"js", "mjs", "cjs"};
constexpr Words<1> kNode = {"node"};
constexpr Words<2> kNodeInterpreters = {"node", "nodejs"};
constexpr Words<1> kTypeScriptNames = {"ts"};
constexpr Words<3> kTypeScriptEndings = {"ts", "mts", "cts"};
constexpr Words<5> kTypeScriptPrograms = {"ts-node", "tsx", "deno", "bun", "node"};
constexpr Words<4> kTypeScriptInterpreters = {"ts-node", "tsx", "deno", "bun"};
constexpr Words<1> kRubyNames = {"rb"};
constexpr Words<1> kRuby = {"ruby"};
constexpr Words<1> kPerlNames = {"pl"};
constexpr Words<1> kPerl = {"perl"};
constexpr Words<1> kPhp = {"php"};
constexpr Words<1> kLuaEnding = {"lua"};
constexpr Words<4> kLuaPrograms = {"lua", "lua5.4", "lua5.3", "luajit"};
constexpr Words<2> kLuaInterpreters = {"lua", "luajit"};
constexpr Words<1> kCEnding = {"c"};
constexpr Words<3> kCPrograms = {"cc", "gcc", "clang"};
constexpr Words<3> kCxxNames = {"cpp", "cxx", "cc"};
constexpr Words<3> kCxxEndings = {"cc", "cpp", "cxx"};
constexpr Words<3> kCxxPrograms = {"c++", "g++", "clang++"};
constexpr Words<1> kGoNames = {"golang"};
constexpr Words<1> kGo = {"go"};
constexpr Words<1> kRustNames = {"rs"};
constexpr Words<1> kRust = {"rustc"};
constexpr Words<1> kJavaEnding = {"java"};
constexpr Words<1> kJava = {"javac"};  // a runtime without the compiler has java as well, and cannot run a source file

constexpr std::array kLanguages = {
    Language{"python", kPythonNames, kPythonEndings, kPython, "main.py", kPythonPrograms, "", "python3"},
    Language{"bash", kShellNames, kBashEndings, kBash, "main.sh", kBash, "", "bash"},
    Language{"sh", kNone, kNone, kShInterpreters, "main.sh", kSh, "", "dash"},
    Language{"javascript", kNodeNames, kNodeEndings, kNodeInterpreters, "main.js", kNode, "", "nodejs"},
    // Debian's own node looks into /usr/share/nodejs by itself, others do not. Types are left out, not checked,
    // whichever program it is; node does so since 22.6.
    Language{"typescript", kTypeScriptNames, kTypeScriptEndings, kTypeScriptInterpreters, "main.ts",
             kTypeScriptPrograms,
             "case $p in\n"
             "  ts-node) export NODE_PATH=\"${NODE_PATH:-/usr/share/nodejs}\"\n"
             "        exec ts-node --transpile-only --skip-project \"$f\" \"$@\" ;;\n"
             "  deno) exec deno run --allow-all --no-check \"$f\" \"$@\" ;;\n"
             "  node) node --experimental-strip-types -e 0 2>/dev/null || missing\n"
             "        exec node --experimental-strip-types --no-warnings \"$f\" \"$@\" ;;\n"
             "esac\n"
             "exec \"$p\" \"$f\" \"$@\"\n",
             "ts-node"},
    Language{"ruby", kRubyNames, kRubyNames, kRuby, "main.rb", kRuby, "", "ruby"},
    Language{"perl", kPerlNames, kPerlNames, kPerl, "main.pl", kPerl, "", "perl"},
    Language{"php", kNone, kPhp, kPhp, "main.php", kPhp, "", "php-cli"},
    Language{"lua", kNone, kLuaEnding, kLuaInterpreters, "main.lua", kLuaPrograms, "exec \"$p\" \"$f\" \"$@\"\n",
             "lua5.4"},
    Language{"c", kNone, kCEnding, kNone, "main.c", kCPrograms,
             "folder\n\"$p\" -O2 -o \"$d/main\" \"$f\" -lm || exit\nexec \"$d/main\" \"$@\"\n", "gcc"},
    Language{"c++", kCxxNames, kCxxEndings, kNone, "main.cc", kCxxPrograms,
             "folder\n\"$p\" -O2 -o \"$d/main\" \"$f\" || exit\nexec \"$d/main\" \"$@\"\n", "g++"},
    // Not `go run`, which has an exit code of its own. Another version of go would be fetched from the network.
    Language{"go", kGoNames, kGo, kNone, "main.go", kGo,
             "folder\nGOTOOLCHAIN=local go build -o \"$d/main\" \"$f\" || exit\nexec \"$d/main\" \"$@\"\n",
             "golang-go"},
    Language{"rust", kRustNames, kRustNames, kNone, "main.rs", kRust,
             "folder\nrustc --edition 2021 -O -o \"$d/main\" \"$f\" || exit\nexec \"$d/main\" \"$@\"\n", "rustc"},
    // One file is compiled in memory by java itself (JEP 330).
    Language{"java", kNone, kJavaEnding, kNone, "Main.java", kJava, "exec java \"$f\" \"$@\"\n",
             "default-jdk-headless"},
};

// Before the steps. Words: the line for missing(), the file, the names of programs, "--", the arguments.
constexpr std::string_view kPrelude =
    "m=$1 f=$2 p=\n"
    "shift 2\n"
    "missing() { printf '%s' \"$m\" >&2; exit 127; }\n"
    "folder() { d=$(mktemp -d \"${TMPDIR:-/tmp}/weir.XXXXXX\") || exit 126; }\n"
    "while [ \"$1\" != -- ]; do\n"
    "  if [ -z \"$p\" ] && command -v \"$1\" >/dev/null 2>&1; then p=$1; fi\n"
    "  shift\n"
    "done\n"
    "shift\n"
    "[ -n \"$p\" ] || missing\n";

std::string lower(std::string_view text) {
  std::string small(text);
  std::ranges::transform(small, small.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return small;
}

bool has(std::span<const std::string_view> words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string list_of(std::span<const std::string_view> words, std::string_view last) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) list += i + 1 == words.size() ? last : std::string_view(", ");
    list += words[i];
  }
  return list;
}

std::string_view next_word(std::string_view& text) {
  constexpr std::string_view kBlank = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(kBlank));
  text.remove_prefix(word.size());
  return word;
}

}  // namespace

std::span<const Language> all() {
  return kLanguages;
}

const Language* by_name(std::string_view name) {
  const std::string wanted = lower(name);
  for (const Language& language : kLanguages) {
    if (language.name == wanted || has(language.aliases, wanted)) return &language;
  }
  return nullptr;
}

const Language* by_file_name(std::string_view path) {
  const std::string_view name = last_part(path);
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return nullptr;
  // In upper case too, as some systems have it: MAIN.PY.
  const std::string ending = lower(name.substr(dot + 1));
  for (const Language& language : kLanguages) {
    if (has(language.extensions, ending)) return &language;
  }
  return nullptr;
}

const Language* by_first_line(std::string_view line) {
  if (!line.starts_with("#!")) return nullptr;
  std::string_view rest = line.substr(2);
  rest = rest.substr(0, rest.find('\n'));
  std::string_view word = last_part(next_word(rest));
  if (word == "env") {
    do {
      word = next_word(rest);
    } while (word.starts_with('-') || word.find('=') != std::string_view::npos);
    word = last_part(word);
  }
  while (!word.empty() && ((word.back() >= '0' && word.back() <= '9') || word.back() == '.')) word.remove_suffix(1);
  for (const Language& language : kLanguages) {
    if (has(language.interpreters, word)) return &language;
  }
  return nullptr;
}

Error unknown(std::string_view name) {
  std::vector<std::string_view> names;
  std::vector<std::string_view> spellings;
  for (const Language& language : kLanguages) {
    names.push_back(language.name);
    spellings.push_back(language.name);
    spellings.insert(spellings.end(), language.aliases.begin(), language.aliases.end());
  }
  const std::string_view near = nearest_spelling(lower(name), spellings);
  return Error(quoted(name, 64) + " is no language that weir runs")
      .with_remedy(near.empty() ? "one of: " + list_of(names, ", ") : "did you mean " + std::string(near) + "?");
}

std::vector<std::string> command(const Language& language, std::string path, std::span<const std::string> arguments) {
  std::vector<std::string> words;
  if (language.steps.empty()) {
    words = {std::string(language.programs.front()), std::move(path)};
  } else {
    words = {"sh",
             "-c",
             std::string(kPrelude) + std::string(language.steps),
             "weir",
             failure_line(missing(language)),
             std::move(path)};
    words.insert(words.end(), language.programs.begin(), language.programs.end());
    words.emplace_back("--");
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

Error missing(const Language& language) {
  return Error("cannot run " + std::string(language.name) + ": there is no " + list_of(language.programs, " or ") +
               " in the sandbox")
      .with_remedy("install the Debian package " + std::string(language.package) +
                   ", on this machine or, with an image, in the image");
}

}  // namespace weir::languages
