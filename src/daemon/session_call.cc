#include "daemon/session_call.h"

#include <sys/socket.h>

#include "base/json.h"

namespace weir::daemon {

namespace {

constexpr unsigned kConnectSeconds = 5;
constexpr auto kConnectAgain = std::chrono::milliseconds(5);

std::unexpected<wire::Refusal> no_session(const std::string& who_is) {
  return wire::refuse(wire::ErrorCode::not_found, "there is no session " + who_is);
}

}  // namespace

Task<wire::Answer<SessionCall>> SessionCall::open(Daemon& daemon, std::string who_is, const Principal& who) {
  const auto found = find_session(daemon, who_is, who);
  WEIR_CO_CHECK(found);
  const std::string id = found->info.id;
  const Deadline deadline = in_seconds(kConnectSeconds);
  while (true) {
    auto connection = session::Connection::open(daemon.registry, id, sys::WhenFull::refuse);
    if (connection) co_return SessionCall(daemon.executor, std::move(*connection));
    const bool full = connection.error().code == wire::ErrorCode::too_many;
    if (!full || Clock::now() > deadline) co_return std::unexpected(connection.error());
    co_await sleep_until(Clock::now() + kConnectAgain);
  }
}

wire::Answer<> SessionCall::send(const wire::SessionRequest& request, std::vector<int> passed) {
  const std::string line = wire::session_request_line(request);
  if (line.size() > kMaxLine) {
    return wire::refuse(wire::ErrorCode::too_large, "the request is too long for a session",
                        "put what is long into a file of the session");
  }
  return connection_.send_line(line, passed);
}

wire::Answer<> SessionCall::send_line(std::string_view line) {
  return connection_.send_line(line);
}

Task<wire::Answer<SessionReply>> SessionCall::receive(Deadline deadline) {
  while (true) {
    auto reply = connection_.next();
    if (reply) co_return std::move(*reply);
    const Waited waited = co_await waiter_->readable(deadline);
    if (waited == Waited::late) {
      co_return wire::refuse(wire::ErrorCode::unavailable, "session " + id() + " does not answer", "try again later");
    }
    if (waited == Waited::failed) co_return wire::refuse(wire::ErrorCode::gone, "session " + id() + " has ended");
    const auto read = connection_.read();
    if (!read) co_return std::unexpected(read.error());
  }
}

Task<wire::Answer<SessionReply>> ask_session(Daemon& daemon, std::string who_is, const Principal& who,
                                             wire::SessionRequest request, unsigned seconds) {
  auto call = co_await SessionCall::open(daemon, std::move(who_is), who);
  WEIR_CO_CHECK(call);
  WEIR_CO_CHECK(call->send(request));
  auto reply = co_await call->receive(in_seconds(seconds));
  co_return reply;
}

void SessionCall::close() {
  ::shutdown(connection_.fd(), SHUT_RDWR);
}

wire::Answer<session::Stored> find_session(Daemon& daemon, const std::string& who_is, const Principal& who) {
  if (who.is_owner()) return daemon.registry.find(who_is);
  const std::string id = daemon.store.id_called(Owned::session, who_is, who);
  if (id.empty()) return no_session(who_is);
  return daemon.registry.find(id);
}

std::string called(Daemon& daemon, const wire::SessionInfo& session, const Principal& who) {
  const auto whose = daemon.store.whose(Owned::session, session.id);
  const bool has_own = whose && (who.is_owner() || whose->owner == who.name);
  return has_own ? whose->name : session.name;
}

std::string session_json(Daemon& daemon, wire::SessionInfo session, const Principal& who) {
  const auto whose = daemon.store.whose(Owned::session, session.id);
  session.name = called(daemon, session, who);
  if (!who.is_owner()) {
    session.events.clear();
    session.supervisor = 0;
  }
  JsonWriter json;
  wire::write_session(json, session);
  std::string text = json.take();
  if (!who.is_owner() || !whose) return text;
  text.pop_back();
  return text + ",\"owner\":" + json_string(whose->owner) + "}";
}

}  // namespace weir::daemon
