#include "library/collect.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

namespace weir::library {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

// What it printed is in the pipes when it has ended; what it left running may go on to fill them, and is not waited
// for.
constexpr std::size_t kMaxAfterExit = 4u << 20;

struct Printed {
  sys::OwnedFd fd;
  std::string text = {};
  bool truncated = false;

  // Bytes that were there. Closed at the end.
  std::size_t take(std::size_t most) {
    std::array<char, 65536> buffer;
    const ssize_t got = fd.valid() ? ::read(fd.get(), buffer.data(), buffer.size()) : 0;
    if (got < 0) return 0;  // nothing yet
    if (got == 0) {
      fd.reset();
      return 0;
    }
    const auto bytes = static_cast<std::size_t>(got);
    const std::size_t kept = std::min(bytes, most - std::min(most, text.size()));
    text.append(buffer.data(), kept);
    truncated = truncated || kept < bytes;
    return bytes;
  }
};

RunResult result_of(const wire::ExitedProcess& exited, Printed out, Printed err) {
  RunResult result{.exit_code = static_cast<int>(exited.exit_code),
                   .out = std::move(out.text),
                   .err = std::move(err.text),
                   .truncated = out.truncated || err.truncated,
                   .timed_out = exited.timed_out,
                   .duration = std::chrono::milliseconds(exited.duration_ms),
                   .refused = {},
                   .limits = exited.limits,
                   .not_executed = exited.not_executed};
  for (const auto& each : exited.refused) {
    result.refused.push_back({.destination = each.destination, .reason = each.reason, .times = each.times});
  }
  return result;
}

// How the command ended, if what was read from the connection says so.
Answer<std::optional<wire::ExitedProcess>> ended(session::Connection& connection) {
  while (auto next = connection.next()) {
    if (!*next) return std::unexpected(next->error());
    if (const auto* const exited = (*next)->as<wire::ExitedProcess>()) return *exited;
  }
  return std::nullopt;
}

}  // namespace

Answer<RunResult> collect(session::Connection& connection, sys::OwnedFd out_fd, sys::OwnedFd err_fd,
                          std::size_t max_output) {
  Printed out{.fd = std::move(out_fd)};
  Printed err{.fd = std::move(err_fd)};
  for (const Printed* each : {&out, &err}) {
    if (::fcntl(each->fd.get(), F_SETFL, O_NONBLOCK) != 0) return refuse(ErrorCode::internal, "cannot read a pipe");
  }
  while (true) {
    // First: the end may have come together with what was read before.
    WEIR_TRY(const std::optional<wire::ExitedProcess> exited, ended(connection));
    if (exited) {
      for (Printed* each : {&out, &err}) {
        std::size_t after = 0;
        while (const std::size_t took = after < kMaxAfterExit ? each->take(max_output) : 0) after += took;
      }
      return result_of(*exited, std::move(out), std::move(err));
    }
    // A negative descriptor is passed over.
    std::array<pollfd, 3> waiting = {pollfd{.fd = connection.fd(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = out.fd.get(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = err.fd.get(), .events = POLLIN, .revents = 0}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
      return refuse(ErrorCode::internal, "cannot wait for a command");
    }
    if (waiting[1].revents != 0) out.take(max_output);
    if (waiting[2].revents != 0) err.take(max_output);
    if (waiting[0].revents != 0) WEIR_CHECK_OK(connection.read());
  }
}

}  // namespace weir::library
