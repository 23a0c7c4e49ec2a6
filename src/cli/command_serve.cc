// weir serve: the daemon is a program of its own (docs/decisions/0020), which lies beside this one.
#include <fcntl.h>
#include <unistd.h>

#include "cli/command.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::cli {
namespace {

constexpr const char* kProgram = "weir-serve";

// Beside this program, or where it is installed for nobody to call it by itself.
Result<std::string> find_program() {
  const auto self = sys::link_target(AT_FDCWD, "/proc/self/exe");
  if (!self) return sys::errno_error("cannot find this program");
  const std::string folder = self->substr(0, self->rfind('/'));
  for (const std::string& path : {folder + "/" + kProgram, folder + "/../libexec/weir/" + kProgram}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return std::unexpected(Error(std::string("there is no ") + kProgram + " beside " + *self)
                             .with_remedy("install the two together: ./dev install"));
}

Result<int> become(const std::string& program, std::vector<std::string> words) {
  words.insert(words.begin(), kProgram);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  return sys::errno_error("cannot start " + program);
}

}  // namespace

Result<Outcome> serve_command(const CommandLine& line) {
  WEIR_TRY(const std::string program, find_program());
  std::vector<std::string> words;
  for (const GivenOption& option : line.options) {
    words.push_back("--" + std::string(spec_of(option.id).name) + "=" + option.value.value_or(""));
  }
  Outcome outcome;
  outcome.stream = [program, words](const Streams&) { return become(program, words); };
  return outcome;
}

}  // namespace weir::cli
