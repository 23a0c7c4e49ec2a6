#include "cli/script_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "base/failure_line.h"
#include "cli/run_plan.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

// Not by /dev/stdin: opening that anew asks for rights that who has the descriptor need not have.
Result<std::string> read_standard_input() {
  WEIR_TRY(const sys::OwnedFd fd,
           sys::checked_fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), "cannot read standard input"));
  return sys::read_open_file(fd, "standard input", kMaxScriptBytes);
}

Result<const languages::Language*> language_of(const std::string& text, const std::string& code) {
  const languages::Language* found = languages::by_file_name(text);
  if (found == nullptr) found = languages::by_first_line(std::string_view(code).substr(0, code.find('\n')));
  if (found != nullptr) return found;
  const std::string what = text == "-" ? "standard input" : quoted(text, 200);
  return std::unexpected(
      Error("weir script: cannot tell the language of " + what + ": no known extension, no first line with #!")
          .with_remedy("say it: weir script -s LANG - < FILE"));
}

// With --here the file is where it is outside, beside what it may need.
std::optional<std::string> path_in_share(const CommandLine& line, const Caller& caller, const std::string& path) {
  if (path.empty() || !line.has(OptionId::here) || caller.folder.empty()) return std::nullopt;
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  const std::string folder = caller.folder == "/" ? caller.folder : caller.folder + "/";
  if (error || !real.string().starts_with(folder)) return std::nullopt;
  return real.string();
}

// Its own name, so that messages show it, unless that would tell the interpreter another language.
std::string name_for(const languages::Language& language, const std::string& text) {
  const std::string name = text.substr(text.rfind('/') + 1);
  return languages::by_file_name(name) == &language ? name : std::string(language.file_name);
}

Result<Script> from_file(const std::string& text, const CommandLine& line, const Caller& caller) {
  std::string path;
  std::string code;
  if (text == "-") {
    WEIR_TRY(code, read_standard_input());
  } else {
    WEIR_TRY(path, in_context(absolute_path(text, caller.folder), "weir script"));
    WEIR_TRY(code, sys::read_file(path, kMaxScriptBytes));
  }
  Script script;
  WEIR_TRY(script.language, language_of(text, code));
  if (const auto shared = path_in_share(line, caller, path)) {
    script.path = *shared;
  } else {
    script.file = sandbox::ScriptFile{.name = name_for(*script.language, text), .content = std::move(code)};
  }
  return script;
}

Result<Script> from_words(const std::string& name, std::string code) {
  Script script;
  script.language = languages::by_name(name);
  if (script.language == nullptr) return std::unexpected(languages::unknown(name).context("option -s"));
  if (code == "-") {
    WEIR_TRY(code, read_standard_input());
  }
  script.file = sandbox::ScriptFile{.name = std::string(script.language->file_name), .content = std::move(code)};
  return script;
}

}  // namespace

Result<Script> read_script(const CommandLine& line, const Caller& caller) {
  const auto language = line.value(OptionId::language);
  const std::string& text = line.operands.front();
  WEIR_TRY(Script script, language ? from_words(*language, text) : from_file(text, line, caller));
  if (script.file) script.path = std::string(sandbox::kScriptFolder) + "/" + script.file->name;
  // weir script FILE -- ARG...
  const std::span<const std::string> rest = std::span(line.operands).subspan(1);
  const bool separated = !rest.empty() && rest.front() == "--";
  script.argv = languages::command(*script.language, script.path, separated ? rest.subspan(1) : rest);
  return script;
}

}  // namespace weir::cli
