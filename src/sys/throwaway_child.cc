#include "sys/throwaway_child.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <array>
#include <cstring>
#include <string_view>

#include "sys/errno.h"
#include "sys/id_maps.h"
#include "sys/pipe.h"

namespace weir::sys {
namespace {

constexpr std::size_t kMaxText = 4000;  // below PIPE_BUF together with the rest: one write, never torn

// What the child sends: the outcome, then text, and for an error NUL and the remedy.
enum class Outcome : char { value = 'v', error = 'e' };

std::string encoded(const Result<std::string>& result) {
  std::string message(1, static_cast<char>(result ? Outcome::value : Outcome::error));
  if (result) return message + result->substr(0, kMaxText);
  message += std::to_string(result.error().code()) + '\0';
  message += result.error().what().substr(0, kMaxText / 2) + '\0';
  return message + result.error().remedy().substr(0, kMaxText / 4);
}

std::string take_field(std::string_view& message) {
  const std::size_t end = std::min(message.find('\0'), message.size());
  std::string field(message.substr(0, end));
  message.remove_prefix(std::min(end + 1, message.size()));
  return field;
}

Result<std::string> decoded(std::string_view message) {
  const char outcome = message.front();
  message.remove_prefix(1);
  if (outcome == static_cast<char>(Outcome::value)) return std::string(message);
  const std::string code = take_field(message);
  std::string what = take_field(message);
  return std::unexpected(Error(std::move(what), std::atoi(code.c_str())).with_remedy(std::string(message)));
}

[[noreturn]] void child(const std::function<Result<std::string>()>& work, const OwnedFd& answer, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above: then nobody waits for an answer. In a new pid namespace the
  // parent's number is 0 from in here.
  const pid_t now = ::getppid();
  if (now != parent && now != 0) ::_exit(1);
  const std::string message = encoded(work());
  const ssize_t sent = ::write(answer.get(), message.data(), message.size());
  ::_exit(sent == static_cast<ssize_t>(message.size()) ? 0 : 1);
}

// Waits for the answer or the end of the child. Empty: it ended without one. An error: it took too long.
Result<std::string> receive(const OwnedFd& answer, std::chrono::milliseconds patience) {
  pollfd waiting{.fd = answer.get(), .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return errno_error("cannot wait for the child");
  if (ready == 0) return fail("no answer within " + std::to_string(patience.count()) + " ms", ETIMEDOUT);
  std::array<char, kMaxText + 96> buffer{};
  const ssize_t got = ::read(answer.get(), buffer.data(), buffer.size());
  if (got < 0) return errno_error("cannot read the child's answer");
  return std::string(buffer.data(), static_cast<std::size_t>(got));
}

}  // namespace

Result<std::string> in_throwaway_child(const std::function<Result<std::string>()>& work,
                                       std::chrono::milliseconds patience) {
  WEIR_TRY(auto pipe, make_pipe());
  auto& [reader, writer] = pipe;
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error("cannot start a child");
  if (pid == 0) child(work, writer, parent);
  writer.reset();
  const Result<std::string> message = receive(reader, patience);
  if (!message) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return errno_error("cannot wait for the child");
  }
  if (!message) return message;
  if (!message->empty()) return decoded(*message);
  if (WIFSIGNALED(status)) return fail(std::string("the child was ended by SIG") + ::sigabbrev_np(WTERMSIG(status)));
  return fail("the child ended without an answer");
}

Result<> become_root_of_new_user_namespace() {
  const IdMaps own = {.uids = {{.inside = 0, .outside = ::geteuid(), .count = 1}},
                      .gids = {{.inside = 0, .outside = ::getegid(), .count = 1}}};
  WEIR_CHECK_OK(checked(::unshare(CLONE_NEWUSER), "cannot make a user namespace"));
  return write_id_maps(::getpid(), own);
}

}  // namespace weir::sys
