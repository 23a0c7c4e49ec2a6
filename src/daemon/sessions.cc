// Sessions and services: made by `weir session create`, asked and ended by their sockets.
#include <algorithm>
#include <cerrno>

#include "base/json.h"
#include "base/json_document.h"
#include "daemon/command.h"
#include "daemon/handlers.h"
#include "daemon/making.h"
#include "daemon/session_call.h"
#include "daemon/snapshots.h"
#include "daemon/things.h"

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

// Gone is what is known to be gone; who cannot look (EMFILE ...) knows nothing.
Result<bool> is_session_there(Daemon& daemon, const std::string& id) {
  const auto folder = daemon.registry.open_folder(id);
  if (folder) return true;
  if (folder.error().code() == ENOENT) return false;
  return std::unexpected(folder.error());
}

// One that failed may stand all the same, or still come to stand: then it stays its caller's.
void note_failure(Daemon& daemon, NewThing& thing, const wire::Refusal& refusal) {
  const auto there = is_session_there(daemon, thing.id());
  if (!there || (!*there && refusal.code == ErrorCode::unavailable)) return;
  if (!*there) thing.failed();
  if (*there) static_cast<void>(thing.is_made());
}

Answer<> check_room(Daemon& daemon, const Principal& who) {
  const auto too_many = [](const char* whose) {
    return refuse(ErrorCode::too_many, std::string("as many sessions as ") + whose + " may have",
                  "end some, or come back when some have ended");
  };
  const auto making =
      std::ranges::count_if(daemon.making, [](const auto& each) { return session::is_session_id(each.first); });
  // count() is the largest number where the folder cannot be read.
  const std::size_t count = daemon.registry.count();
  const std::size_t most = daemon.limits.sessions;
  if (count >= most || static_cast<std::size_t>(making) >= most - count) return too_many("this machine");
  if (who.is_owner()) return {};
  const auto there = [&](const std::string& id) { return is_session_there(daemon, id); };
  WEIR_TRY(const auto own, present_things(daemon, Owned::session, who, there));
  return own.size() >= daemon.limits.sessions_per_token ? too_many("this token") : Answer<>();
}

// A token's names are in the rows of its things, and in no list that others share.
std::string take_name(CreateWords& words, const Principal& who) {
  constexpr std::string_view kName = "--name=";
  if (who.is_owner()) return {};
  const auto found = std::ranges::find_if(words.words, [&](const auto& word) { return word.starts_with(kName); });
  if (found == words.words.end()) return {};
  const std::string name = found->substr(kName.size());
  words.words.erase(found);
  return name;
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

// Of a token only its own are looked at, however many others there are.
Answer<std::vector<session::Stored>> stored_sessions(Daemon& daemon, const Principal& who) {
  if (who.is_owner()) {
    auto all = daemon.registry.list();
    if (!all) return internal(all.error());
    return std::move(*all);
  }
  const auto own = daemon.store.things_of(Owned::session, who);
  if (!own) return internal(own.error());
  std::vector<session::Stored> found;
  for (const Store::Thing& thing : *own) {
    if (auto stored = daemon.registry.find(thing.id)) found.push_back(std::move(*stored));
  }
  std::ranges::sort(found, {}, [](const session::Stored& each) { return std::pair(each.info.created, each.info.id); });
  return found;
}

// Live where it answers; as its folder says where it sleeps, or does not answer.
Task<wire::SessionInfo> seen(Daemon& daemon, wire::SessionInfo stored, const Principal& who) {
  auto found = co_await look_at_session(daemon, stored.id, who, kGlanceSeconds);
  if (found) co_return std::move(*found);
  co_return stored;
}

Task<Answer<wire::SessionInfo>> start_session(Daemon& daemon, CreateWords words, const Principal& who, std::string id) {
  auto resolved = co_await with_own_snapshots(daemon, std::move(words), who);
  WEIR_CO_CHECK(resolved);
  words = std::move(*resolved);
  Command command{.words = {"session", "create", "--output=json", "--id=" + id}};
  std::ranges::move(words.words, std::back_inserter(command.words));
  command.inherited.resize(3);
  for (const auto& [fd, content] :
       {std::pair(CreateWords::kEnvFileFd, &words.env_file), std::pair(CreateWords::kPolicyFd, &words.policy),
        std::pair(CreateWords::kBootstrapFd, &words.bootstrap)}) {
    if (content->empty()) continue;
    auto file = file_in_memory(*content);
    if (!file) co_return internal(file.error());
    command.inherited[static_cast<std::size_t>(fd - CreateWords::kEnvFileFd)] = std::move(*file);
  }
  auto ended = co_await run_command(daemon, who, std::move(command), kCreateSeconds);
  WEIR_CO_CHECK(ended);
  co_return created_session(*ended);
}

}  // namespace

Task<Answer<wire::SessionInfo>> make_session(Daemon& daemon, CreateWords words, const Principal& who) {
  WEIR_CO_CHECK(check_room(daemon, who));
  const std::string name = take_name(words, who);
  const auto there = [&](const std::string& id) { return is_session_there(daemon, id); };
  auto thing = begin_thing(daemon, Owned::session, who, name, there);
  WEIR_CO_CHECK(thing);
  auto made = co_await start_session(daemon, std::move(words), who, thing->id());
  if (!made) note_failure(daemon, *thing, made.error());
  WEIR_CO_CHECK(made);
  WEIR_CO_CHECK(thing->is_made());
  ++daemon.metrics.sessions_created;
  co_return made;
}

Task<Outcome> create_session(Call& call, std::string body) {
  const Making making = kind_of(call);
  WEIR_CO_TRY(CreateWords words, parse_create(body, making, call.who));
  auto session = co_await make_session(call.daemon, std::move(words), call.who);
  WEIR_CO_CHECK(session);
  Reply reply = json_reply(201, session_json(call.daemon, *session, call.who));
  const bool is_service = making == Making::service;
  reply.headers.emplace_back("Location", is_service ? "/v1/services/" + called(call.daemon, *session, call.who)
                                                    : "/v1/sessions/" + session->id);
  co_return reply;
}

Task<Outcome> list_sessions(Call& call, std::string) {
  const Making kind = kind_of(call);
  auto all = stored_sessions(call.daemon, call.who);
  WEIR_CO_CHECK(all);
  std::string items;
  for (const session::Stored& stored : *all) {
    if (kind == Making::service && !stored.info.service) continue;
    if (!has_labels(stored.info, call.target)) continue;
    const wire::SessionInfo session = co_await seen(call.daemon, stored.info, call.who);
    items += (items.empty() ? "" : ",") + session_json(call.daemon, session, call.who);
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
  co_return json_reply(200, session_json(call.daemon, *session, call.who));
}

namespace {

// With the snapshot that it consists of, which is not for this process to remove.
// It may be awake again by then: it is asked as anybody who is awake.
Task<Outcome> remove_asleep(Daemon& daemon, std::string who_is, Principal who, wire::StopSession how) {
  auto found = find_session(daemon, who_is, who);
  WEIR_CO_CHECK(found);
  const std::string id = found->info.id;
  std::vector<std::string> words = {"stop", "--", id};
  if (how.kill) words = {"session", "rm", "--", id};
  auto ended = co_await run_command(daemon, who, {.words = std::move(words)}, kCreateSeconds);
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
  const wire::StopSession how{.kill = is_on(call.target, "kill")};
  auto session = co_await SessionCall::open(call.daemon, call.parameter(0), call.who, session::Asleep::leave);
  if (!session && session.error().code == ErrorCode::unavailable) {
    auto removed = co_await remove_asleep(call.daemon, call.parameter(0), call.who, how);
    co_return removed;
  }
  WEIR_CO_CHECK(session);
  WEIR_CO_CHECK(session->send(how));
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
