#include "daemon/session_call.h"

#include <sys/socket.h>

#include "base/json.h"
#include "daemon/command.h"

namespace weir::daemon {

namespace {

constexpr unsigned kConnectSeconds = 5;
constexpr unsigned kWakeSeconds = 120;
constexpr auto kConnectAgain = std::chrono::milliseconds(5);

std::unexpected<wire::Refusal> no_session(const std::string& who_is) {
  return wire::refuse(wire::ErrorCode::not_found, "there is no session " + who_is);
}

// Where this dies meanwhile, it is awake or asleep: the command that wakes it goes on, or has done nothing.
Task<wire::Answer<>> wake(Daemon& daemon, std::string id, Principal who) {
  auto ended =
      co_await run_command(daemon, std::move(who), {.words = {"session", "wake", "--output=json", id}}, kWakeSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  co_return wire::Answer<>();
}

}  // namespace

Task<wire::Answer<SessionCall>> SessionCall::open(Daemon& daemon, std::string who_is, const Principal& who,
                                                  session::Asleep asleep) {
  auto found = find_session(daemon, who_is, who);
  const Deadline deadline = in_seconds(kConnectSeconds);
  while (true) {
    WEIR_CO_CHECK(found);
    const std::string id = found->info.id;
    if (found->info.state == session::kAsleep && asleep == session::Asleep::wake) {
      auto woken = co_await wake(daemon, id, who);
      WEIR_CO_CHECK(woken);
    }
    auto connection = session::Connection::open(daemon.registry, id,
                                                {.when_full = sys::WhenFull::refuse, .asleep = session::Asleep::leave});
    if (connection) co_return SessionCall(daemon.executor, std::move(*connection));
    found = find_session(daemon, id, who);
    const bool sleeps = found && found->info.state == session::kAsleep && asleep == session::Asleep::wake;
    const bool full = connection.error().code == wire::ErrorCode::too_many;
    if ((!full && !sleeps) || Clock::now() > deadline) co_return std::unexpected(connection.error());
    if (full) co_await sleep_until(Clock::now() + kConnectAgain);
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
                                             wire::SessionRequest request, unsigned seconds, session::Asleep asleep) {
  auto call = co_await SessionCall::open(daemon, std::move(who_is), who, asleep);
  WEIR_CO_CHECK(call);
  WEIR_CO_CHECK(call->send(request));
  auto reply = co_await call->receive(in_seconds(seconds));
  co_return reply;
}

Task<wire::Answer<wire::SessionInfo>> look_at_session(Daemon& daemon, std::string who_is, const Principal& who,
                                                      unsigned seconds) {
  auto found = find_session(daemon, who_is, who);
  WEIR_CO_CHECK(found);
  if (found->info.state != session::kAsleep) {
    auto reply =
        co_await ask_session(daemon, found->info.id, who, wire::ShowSession{}, seconds, session::Asleep::leave);
    const auto* const live = reply ? reply->as<wire::SessionInfo>() : nullptr;
    if (live != nullptr) co_return *live;
    found = find_session(daemon, found->info.id, who);
    WEIR_CO_CHECK(found);
    if (found->info.state != session::kAsleep) {
      WEIR_CO_CHECK(reply);
      co_return wire::refuse(wire::ErrorCode::internal, "the session says something else than what it is");
    }
  }
  co_return std::move(found->info);
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
