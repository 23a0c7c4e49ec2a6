#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "base/failure_line.h"
#include "base/json.h"
#include "base/json_document.h"
#include "cli/command.h"
#include "session/registry.h"
#include "session/wake.h"
#include "supervisor/record/events_sweep.h"
#include "supervisor/state_folder.h"
#include "sys/errno.h"
#include "sys/unix_listener.h"

namespace weir::cli {
namespace {

// A gateway that does not follow within 5 s is ended with its sandbox; then the connection ends.
constexpr timeval kPatience{.tv_sec = 30, .tv_usec = 0};
constexpr std::size_t kMaxReply = 1u << 20;

// Nobody listens there any more, and nobody will: an id is never used twice. One that was made just now may be about
// to.
void remove_if_stale(const std::string& path) {
  constexpr time_t kStaleSeconds = 60;
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  if (::time(nullptr) - status.st_mtim.tv_sec > kStaleSeconds) ::unlink(path.c_str());
}

Result<sys::OwnedFd> connect_to(const std::string& id) {
  WEIR_TRY(const std::string path, supervisor::seal_socket_of(id));
  auto socket = sys::connect_unix(path);
  if (socket) return socket;
  const int code = socket.error().code();
  if (code == ECONNREFUSED) remove_if_stale(path);
  if (code != ENOENT && code != ECONNREFUSED) return socket;
  return std::unexpected(Error("no sandbox " + id + " of this user can be sealed: it has ended, or has no [after]")
                             .with_remedy("weir log says which there are; start it with --after MODE"));
}

Result<std::string> ask(const std::string& id) {
  WEIR_TRY(const sys::OwnedFd socket, connect_to(id));
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0)
    return sys::errno_error("cannot wait for " + id);
  constexpr std::string_view kRequest = "{\"op\": \"seal\"}\n";
  if (::send(socket.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kRequest.size()))
    return sys::errno_error("cannot speak to " + id);
  std::string reply;
  std::array<char, 4096> buffer;
  while (reply.size() < kMaxReply) {
    const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys::errno_error(id + " does not answer");
    if (count == 0) break;
    reply.append(buffer.data(), static_cast<std::size_t>(count));
  }
  if (!reply.empty()) return reply;
  return std::unexpected(Error(id + " ended before it was sealed").with_remedy("weir log " + id + " says why"));
}

// What is sealed now must be sealed when it wakes.
Result<> wake_if_asleep(const std::string& id) {
  WEIR_TRY(const session::Registry registry, session::Registry::open());
  const auto found = registry.find(id);
  if (!found || found->info.state != session::kAsleep) return {};
  if (const auto woken = session::wake(registry, id); !woken)
    return std::unexpected(Error(woken.error().message).with_remedy(woken.error().remedy));
  return {};
}

std::string text_of(const Json& document, std::string_view key) {
  const auto found = document.find(key);
  return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

Result<Outcome> seal_command(const CommandLine& line) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  const std::string& id = line.operands[0];
  if (!supervisor::is_sandbox_id(id)) {
    return std::unexpected(Error("'" + id + "' is no id of a sandbox").with_remedy("write one such as w-3f9a1c27"));
  }
  WEIR_CHECK_OK(wake_if_asleep(id));
  WEIR_TRY(const std::string reply, ask(id));
  WEIR_TRY(const Json document, in_context(parse_json(reply), "the answer of " + id));
  if (!document.is_object()) return fail("the answer of " + id + " is no object");
  if (const auto error = document.find("error"); error != document.end()) {
    return std::unexpected(Error(id + ": " + text_of(*error, "message")).with_remedy(text_of(*error, "remedy")));
  }
  Outcome outcome;
  outcome.out = format == OutputFormat::json
                    ? reply
                    : id + " is sealed: policy " + printable(text_of(document, "policy")) + " is in force\n";
  return outcome;
}

}  // namespace weir::cli
