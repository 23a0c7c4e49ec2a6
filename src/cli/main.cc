// The program `weir`.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure_line.h"
#include "cli/build_info.h"
#include "cli/command.h"
#include "gateway/gateway.h"
#include "supervisor/run_options.h"
#include "sys/child_process.h"
#include "sys/errno.h"

namespace {

using namespace weir;

cli::Caller caller_of_this_process() {
  cli::Caller caller;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    caller.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  const std::unique_ptr<char, decltype(&std::free)> folder(::realpath(".", nullptr), &std::free);
  if (folder) caller.folder = folder.get();
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) caller.columns = size.ws_col;
  return caller;
}

Result<> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return sys::errno_error("cannot write the output");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

// What is opened later must not get the number of a closed one: it would be read, written or handed to the command for
// what it is not.
bool open_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // It lives as long as the process, like any standard descriptor.
    if (::open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

int stream(const cli::Outcome& outcome) {
  const auto to = [](int fd) { return [fd](std::string_view text) { return write_all(fd, text); }; };
  const auto code = outcome.stream({.out = to(STDOUT_FILENO), .err = to(STDERR_FILENO)});
  if (code) return *code;
  static_cast<void>(write_all(STDERR_FILENO, failure_line(code.error())));
  return supervisor::kExitOwnFailure;
}

int main_with(std::span<const std::string> words) {
  // Loud, and not to be silenced by -q: such a binary protects nothing.
  std::string err;
  if (cli::build_kind() == cli::BuildKind::admit_all) err = "weir: " + std::string(cli::kAdmitAllWarning) + "\n";
  // Before anything of weir's own is open.
  const std::vector<int> inherited = cli::leaves_something_behind(words) ? sys::open_descriptors() : std::vector<int>();
  cli::Outcome outcome = cli::execute(words, caller_of_this_process());
  err += outcome.err;
  // Nothing is left to tell the user with when descriptor 2 does not take it.
  if (!write_all(STDERR_FILENO, err)) return supervisor::kExitOwnFailure;
  if (const auto written = write_all(STDOUT_FILENO, outcome.out); !written) {
    // As above: the exit code speaks when descriptor 2 cannot.
    static_cast<void>(write_all(STDERR_FILENO, failure_line(written.error())));
    return supervisor::kExitOwnFailure;
  }
  if (outcome.start) return supervisor::run(std::move(*outcome.start));
  if (outcome.session) return supervisor::create_session(std::move(*outcome.session), inherited);
  if (outcome.stream) return stream(outcome);
  return outcome.exit_code;
}

}  // namespace

int main(int count, char** words) {
  // The same program again, started by its own supervisor: one file to install, one to trust.
  if (count > 0 && std::string_view(words[0]) == gateway::kProgramName) return gateway::run();
  // Nobody can be told.
  if (!open_standard_descriptors()) return supervisor::kExitOwnFailure;
  const std::vector<std::string> arguments(words + (count > 0 ? 1 : 0), words + count);
  return main_with(arguments);
}
