#include "session/starter.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/bytes.h"
#include "sys/errno.h"
#include "sys/pipe.h"
#include "sys/spawn.h"

namespace weir::session {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxAnswer = 1u << 20;

std::vector<std::string> own_environment() {
  std::vector<std::string> variables;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) variables.emplace_back(*each);
  return variables;
}

// The first line, or what there is: the supervisor that is left behind may hold the pipe, and is not waited for.
std::string first_line(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.find('\n') == std::string::npos && text.size() < kMaxAnswer) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text.substr(0, text.find('\n'));
}

int exit_code_of(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Answer<wire::SessionInfo> run_starter(const std::vector<std::string>& command_line) {
  const auto internal = [](const Error& error) { return refuse(ErrorCode::unavailable, error); };
  auto answer = sys::make_pipe();
  if (!answer) return internal(answer.error());
  const auto nothing = sys::checked_fd(::open("/dev/null", O_RDWR | O_CLOEXEC), "cannot open /dev/null");
  if (!nothing) return internal(nothing.error());
  auto spawned = sys::spawn({.program = command_line.front(),
                             .argv = command_line,
                             .environment = own_environment(),
                             .folder = ".",
                             .descriptors = {nothing->get(), answer->writing.get(), nothing->get()}});
  if (!spawned) return internal(spawned.error());
  answer->writing.reset();
  const std::string line = first_line(answer->reading.get());
  const int code = exit_code_of(spawned->pid);
  if (auto info = wire::parse_session(line); info && code == 0) return std::move(*info);
  const auto reply = wire::parse_session_reply(line);
  if (const auto* const refusal = reply ? std::get_if<wire::Refusal>(&*reply) : nullptr)
    return std::unexpected(*refusal);
  return refuse(ErrorCode::internal,
                command_line.front() + " session " + command_line[2] + " ended with " + std::to_string(code) +
                    " and did not say what came of it",
                "run it by hand; it may be of another version");
}

}  // namespace weir::session
