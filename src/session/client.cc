#include "session/client.h"

#include <time.h>

#include <cerrno>

#include "session/wake.h"
#include "sys/reactor.h"
#include "sys/unix_listener.h"

namespace weir::session {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kMaxReply = 4u << 20;
// A session that does not take a request line stands still.
constexpr std::uint64_t kSendPatienceMs = 10'000;
// One that nobody listens for either sleeps by then, or has thought better of it.
constexpr std::uint64_t kSleepyPatienceMs = 30'000;
constexpr timespec kLookAgain{.tv_sec = 0, .tv_nsec = 5'000'000};

}  // namespace

std::unexpected<wire::Refusal> Connection::gone() const {
  return refuse(ErrorCode::gone, "session " + id_ + " ended before it answered", "weir ps lists those that run");
}

std::unexpected<wire::Refusal> Connection::failed(const Error& error) const {
  switch (error.code()) {
    case ETIMEDOUT:
      return refuse(ErrorCode::timeout, "session " + id_ + ": " + error.what());
    case EPIPE:
    case ECONNRESET:
      return gone();
    default:
      return refuse(ErrorCode::internal, "session " + id_ + ": " + error.what(), error.remedy());
  }
}

// Nothing: nobody listens, and whoever has the session's lock is about to sleep, or was.
Answer<std::optional<Connection>> Connection::try_open(const Registry& registry, const Stored& stored, Reach how) {
  Connection none(stored.info.id, {});
  const auto folder = registry.open_folder(stored.info.id);
  if (!folder) return none.gone();
  auto socket = sys::connect_unix_in(*folder, OwnFolder::kSocket, how.when_full);
  if (!socket && socket.error().code() == EAGAIN)
    return refuse(ErrorCode::too_many, "too many ask session " + stored.info.id);
  const bool nobody = !socket && (socket.error().code() == ECONNREFUSED || socket.error().code() == ENOENT);
  if (nobody && stored.info.on_idle == kAsksToSleep) return std::optional<Connection>();
  if (nobody) return none.gone();
  if (!socket) return none.failed(socket.error());
  auto stream = sys::LineStream::of(std::move(*socket), kMaxReply);
  if (!stream) return none.failed(stream.error());
  return std::optional(Connection(stored.info.id, std::move(*stream)));
}

Answer<Connection> Connection::open(const Registry& registry, std::string_view who, Reach how) {
  const std::uint64_t deadline = sys::monotonic_ms() + kSleepyPatienceMs;
  std::string name(who);
  while (true) {
    WEIR_TRY(const Stored stored, registry.find(name));
    name = stored.info.id;
    if (stored.info.state == kAsleep) {
      if (how.asleep == Asleep::leave) return refuse(ErrorCode::unavailable, "session " + name + " is asleep");
      WEIR_CHECK_OK(wake(registry, name));
      continue;
    }
    WEIR_TRY(auto connection, try_open(registry, stored, how));
    if (connection) return std::move(*connection);
    if (how.when_full == sys::WhenFull::refuse)
      return refuse(ErrorCode::too_many, "session " + name + " is falling asleep");
    if (sys::monotonic_ms() > deadline) return Connection(name, {}).gone();
    ::nanosleep(&kLookAgain, nullptr);
  }
}

Answer<> Connection::send(const wire::SessionRequest& request, std::span<const int> passed) {
  return send_line(wire::session_request_line(request), passed);
}

Answer<> Connection::send_line(std::string_view line, std::span<const int> passed) {
  const auto sent = stream_.send(line, passed, sys::monotonic_ms() + kSendPatienceMs);
  // One that refuses before it has read everything has said why.
  if (!sent && sent.error().code() != EPIPE) return failed(sent.error());
  return {};
}

Answer<Connection::Reply> Connection::reply_of(sys::LineStream::Line line) const {
  auto reply = wire::parse_session_reply(line.text);
  if (!reply) return refuse(ErrorCode::internal, "session " + id_ + " answers nonsense: " + reply.error().what());
  if (auto* const refusal = std::get_if<wire::Refusal>(&*reply)) return std::unexpected(std::move(*refusal));
  return Reply{.reply = std::move(*reply), .text = std::move(line.text), .passed = std::move(line.passed)};
}

Answer<Connection::Reply> Connection::receive(std::uint64_t deadline_ms) {
  auto line = stream_.receive(deadline_ms);
  if (!line) return failed(line.error());
  if (!*line) return gone();
  return reply_of(std::move(**line));
}

Answer<> Connection::read() {
  const auto state = stream_.read();
  if (!state) return failed(state.error());
  closed_ = *state == sys::LineStream::State::closed;
  return {};
}

std::optional<Answer<Connection::Reply>> Connection::next() {
  if (auto line = stream_.next()) return reply_of(std::move(*line));
  if (closed_) return Answer<Reply>(gone());
  return std::nullopt;
}

Answer<Connection::Reply> ask(const Registry& registry, std::string_view who, const wire::SessionRequest& request,
                              std::uint64_t deadline_ms, Reach how) {
  WEIR_TRY(Connection connection, Connection::open(registry, who, how));
  WEIR_CHECK_OK(connection.send(request));
  return connection.receive(deadline_ms);
}

}  // namespace weir::session
