// Sessions and services: made by `weir session create`, asked and ended by their sockets.
#include <algorithm>

#include "base/json.h"
#include "base/json_document.h"
#include "daemon/command.h"
#include "daemon/handlers.h"
#include "daemon/making.h"
#include "daemon/session_call.h"
#include "daemon/snapshots.h"

namespace weir::daemon {

namespace {

using wire::Answer;
using wire::ErrorCode;
using wire::refuse;

constexpr unsigned kCreateSeconds = 120;
// A session that stands still must not hold up the list of all.
constexpr unsigned kGlanceSeconds = 2;

Making kind_of(const Call& call) {
  return call.route.row->pattern.starts_with("/v1/services") ? Making::service : Making::session;
}

// Counts a session as long as it is being made: two requests must not both take the last place.
class InTheMaking {
 public:
  InTheMaking(Daemon& daemon, const Principal& who) : count_(&daemon.making[owner_key(who)]) { ++*count_; }
  InTheMaking(InTheMaking&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  InTheMaking& operator=(InTheMaking&&) = delete;
  ~InTheMaking() {
    if (count_ != nullptr) --*count_;
  }

 private:
  std::size_t* count_;
};

// How many of a token's sessions there still are; rows of those that have ended go.
std::size_t sessions_of(Daemon& daemon, const Principal& who) {
  const auto ids = daemon.store.ids_of(Owned::session, who);
  if (!ids) return daemon.limits.sessions_per_token;
  std::size_t count = 0;
  for (const std::string& id : *ids) {
    if (daemon.registry.open_folder(id)) {
      ++count;
    } else {
      daemon.store.disown(Owned::session, id);
    }
  }
  return count;
}

Answer<> check_room(Daemon& daemon, const Principal& who) {
  const auto too_many = [](const char* whose) {
    return refuse(ErrorCode::too_many, std::string("as many sessions as ") + whose + " may have",
                  "end some, or come back when some have ended");
  };
  std::size_t making = 0;
  for (const auto& [name, count] : daemon.making) making += count;
  if (daemon.registry.count() + making >= daemon.limits.sessions) return too_many("this machine");
  if (who.is_owner()) return {};
  const std::size_t own = sessions_of(daemon, who) + daemon.making[who.name];
  return own >= daemon.limits.sessions_per_token ? too_many("this token") : Answer<>();
}

Answer<wire::SessionInfo> created_session(const Ended& ended) {
  if (ended.exit_code != 0) return std::unexpected(refusal_of(ended));
  const auto document = parse_json(ended.out);
  if (!document) return refuse(ErrorCode::internal, "weir session create says nonsense");
  const Json* const inner = json_member(*document, "session");
  auto session = wire::parse_session((inner != nullptr ? *inner : *document).dump());
  if (!session) return refuse(ErrorCode::internal, "weir session create says nonsense: " + session.error().what());
  return std::move(*session);
}

bool has_labels(const wire::SessionInfo& session, const Target& target) {
  return std::ranges::all_of(target.query, [&](const auto& wanted) {
    if (wanted.first != "label") return true;
    return std::ranges::any_of(session.labels,
                               [&](const auto& label) { return label.first + "=" + label.second == wanted.second; });
  });
}

// Live where it answers; as its folder says where it sleeps, or does not answer.
Task<wire::SessionInfo> seen(Daemon& daemon, wire::SessionInfo stored, const Principal& who) {
  auto found = co_await look_at_session(daemon, stored.id, who, kGlanceSeconds);
  if (found) co_return std::move(*found);
  co_return stored;
}

}  // namespace

Task<Answer<wire::SessionInfo>> make_session(Daemon& daemon, CreateWords words, const Principal& who) {
  WEIR_CO_CHECK(check_room(daemon, who));
  const InTheMaking place(daemon, who);
  auto resolved = co_await with_own_snapshots(daemon, std::move(words), who);
  WEIR_CO_CHECK(resolved);
  words = std::move(*resolved);
  Command command{.words = {"session", "create", "--output=json"}};
  std::ranges::move(words.words, std::back_inserter(command.words));
  command.inherited.resize(2);
  for (const auto& [fd, content] :
       {std::pair(CreateWords::kEnvFileFd, &words.env_file), std::pair(CreateWords::kPolicyFd, &words.policy)}) {
    if (content->empty()) continue;
    auto file = file_in_memory(*content);
    if (!file) co_return internal(file.error());
    command.inherited[static_cast<std::size_t>(fd - CreateWords::kEnvFileFd)] = std::move(*file);
  }
  auto ended = co_await run_command(daemon, who, std::move(command), kCreateSeconds);
  WEIR_CO_CHECK(ended);
  auto session = created_session(*ended);
  WEIR_CO_CHECK(session);
  if (const auto owned = daemon.store.own(Owned::session, session->id, who); !owned) {
    // Nobody could ever reach it.
    const auto stopped = co_await ask_session(daemon, session->id, machine_owner(), wire::StopSession{.kill = true});
    static_cast<void>(stopped);
    co_return internal(owned.error());
  }
  ++daemon.metrics.sessions_created;
  co_return session;
}

Task<Outcome> create_session(Call& call, std::string body) {
  const Making making = kind_of(call);
  WEIR_CO_TRY(CreateWords words, parse_create(body, making, call.who));
  auto session = co_await make_session(call.daemon, std::move(words), call.who);
  WEIR_CO_CHECK(session);
  Reply reply = json_reply(201, session_json(*session, call.who));
  const bool is_service = making == Making::service;
  reply.headers.emplace_back("Location", is_service ? "/v1/services/" + session->name : "/v1/sessions/" + session->id);
  co_return reply;
}

Task<Outcome> list_sessions(Call& call, std::string) {
  const Making kind = kind_of(call);
  const auto all = call.daemon.registry.list();
  if (!all) co_return internal(all.error());
  std::string items;
  for (const session::Stored& stored : *all) {
    if (!call.daemon.store.is_visible(Owned::session, stored.info.id, call.who)) continue;
    if (kind == Making::service && !stored.info.service) continue;
    if (!has_labels(stored.info, call.target)) continue;
    const wire::SessionInfo session = co_await seen(call.daemon, stored.info, call.who);
    items += (items.empty() ? "" : ",") + session_json(session, call.who);
  }
  co_return json_reply(200,
                       std::string(kind == Making::service ? "{\"services\":[" : "{\"sessions\":[") + items + "]}");
}

Task<Outcome> show_session(Call& call, std::string) {
  const Making kind = kind_of(call);
  auto session = co_await look_at_session(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(session);
  if (kind == Making::service && !session->service) {
    co_return refuse(ErrorCode::not_found, "there is no service " + call.parameter(0));
  }
  co_return json_reply(200, session_json(*session, call.who));
}

namespace {

// With the snapshot that it consists of, which is not for this process to remove.
Task<Outcome> remove_asleep(Daemon& daemon, std::string who_is, Principal who) {
  auto found = find_session(daemon, who_is, who);
  WEIR_CO_CHECK(found);
  const std::string id = found->info.id;
  auto ended = co_await run_command(daemon, who, {.words = {"session", "rm", "--", id}}, kCreateSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  daemon.store.disown(Owned::session, id);
  co_return no_content();
}

}  // namespace

Task<Outcome> delete_session(Call& call, std::string) {
  const Making kind = kind_of(call);
  if (kind == Making::service) {
    const auto there = co_await show_session(call, "");
    WEIR_CO_CHECK(there);
  }
  auto session = co_await SessionCall::open(call.daemon, call.parameter(0), call.who, session::Asleep::leave);
  if (!session && session.error().code == ErrorCode::unavailable) {
    auto removed = co_await remove_asleep(call.daemon, call.parameter(0), call.who);
    co_return removed;
  }
  WEIR_CO_CHECK(session);
  WEIR_CO_CHECK(session->send(wire::StopSession{.kill = is_on(call.target, "kill")}));
  // Answered at once; what is inside has its grace time, and then the connection ends.
  while (true) {
    const auto reply = co_await session->receive(in_seconds(SessionCall::kPatience));
    if (reply) continue;
    if (reply.error().code != ErrorCode::gone) co_return std::unexpected(reply.error());
    call.daemon.store.disown(Owned::session, session->id());
    co_return no_content();
  }
}

Task<Outcome> narrow_network(Call& call, std::string body) {
  WEIR_CO_TRY(wire::ControlRequest request, parse_narrow(body, call.who));
  auto reply = co_await ask_session(call.daemon, call.parameter(0), call.who, std::move(request));
  WEIR_CO_CHECK(reply);
  if (reply->as<wire::Narrowed>() == nullptr) co_return refuse(ErrorCode::internal, "the session says something else");
  co_return json_reply(200, reply->text);
}

}  // namespace weir::daemon
