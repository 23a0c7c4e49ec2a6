// The record of a session: its file, as it stands, and as it grows.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>

#include "daemon/handlers.h"
#include "daemon/pipes.h"
#include "daemon/session_call.h"
#include "sys/errno.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kPiece = 65536;
enum Tag : int { kChanged, kClient };

// Whole lines only: what is being written comes with the next ones. False: the client has gone.
Task<bool> pass_on(Exchange& exchange, int file, std::uint64_t& at) {
  std::string buffer(kPiece, '\0');
  while (true) {
    const ssize_t count = ::pread(file, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (count <= 0) co_return true;
    const std::string_view bytes = std::string_view(buffer).substr(0, static_cast<std::size_t>(count));
    const std::size_t end = bytes.rfind('\n');
    if (end == std::string_view::npos && bytes.size() < buffer.size()) co_return true;
    const std::string_view lines = bytes.substr(0, end == std::string_view::npos ? bytes.size() : end + 1);
    at += lines.size();
    const bool taken = co_await exchange.write(lines);
    if (!taken) co_return false;
  }
}

struct Growth {
  sys::OwnedFd notices;
  Watch watch;
  int folder = -1;
};

// Of the file, and of the folder of the session, whose end is the end of the record.
Result<Growth> watch_growth(const Call& call, const std::string& id, const std::string& path) {
  WEIR_TRY(sys::OwnedFd notices, sys::checked_fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC), "cannot watch the record"));
  WEIR_TRY(Watch watch, Watch::create(call.daemon.executor));
  const std::string folder = call.daemon.registry.path_of(id);
  const int file = ::inotify_add_watch(notices.get(), path.c_str(), IN_MODIFY);
  const int ends = ::inotify_add_watch(notices.get(), folder.c_str(), IN_DELETE_SELF | IN_ONLYDIR);
  if (file < 0 || ends < 0) return sys::errno_error("cannot watch the record");
  WEIR_CHECK_OK(watch.add(notices.get(), EPOLLIN, kChanged));
  WEIR_CHECK_OK(watch.add(call.exchange.fd(), EPOLLRDHUP, kClient));
  return Growth{.notices = std::move(notices), .watch = std::move(watch), .folder = ends};
}

// Takes the notices that have come. True: the session has ended.
bool has_ended(const Growth& growth) {
  alignas(inotify_event) std::array<char, 4096> buffer;
  bool ended = false;
  while (true) {
    const ssize_t count = ::read(growth.notices.get(), buffer.data(), buffer.size());
    if (count <= 0) return ended;
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      const auto* const event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if (event->wd == growth.folder && (event->mask & (IN_DELETE_SELF | IN_IGNORED)) != 0) ended = true;
      at += sizeof(inotify_event) + event->len;
    }
  }
}

Task<Outcome> send_events(Call& call, sys::OwnedFd file, std::optional<Growth> growth) {
  bool taken = co_await call.exchange.begin_stream(200, "application/x-ndjson");
  std::uint64_t at = 0;
  bool ended = !growth;
  while (taken) {
    taken = co_await pass_on(call.exchange, file.get(), at);
    if (!taken || ended) break;
    const Watch::Ready ready = co_await growth->watch.wait(kNever);
    if (ready.late || ready.has(kClient)) co_return nobody_there();
    ended = has_ended(*growth);
  }
  if (!taken) co_return nobody_there();
  const bool closed = co_await call.exchange.end_stream();
  if (!closed) co_return nobody_there();
  co_return streamed(200);
}

}  // namespace

Task<Outcome> follow_events(Call& call, std::string) {
  auto session = co_await look_at_session(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(session);
  if (session->events.empty()) co_return refuse(ErrorCode::not_found, "this session has no record");
  sys::OwnedFd file(::open(session->events.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.valid() || !is_regular_file(file.get()))
    co_return refuse(ErrorCode::gone, "the record is not there any more");
  std::optional<Growth> growth;
  if (is_on(call.target, "follow")) {
    auto watched = watch_growth(call, session->id, session->events);
    if (!watched) co_return internal(watched.error());
    growth = std::move(*watched);
  }
  auto sent = co_await send_events(call, std::move(file), std::move(growth));
  co_return sent;
}

}  // namespace weir::daemon
