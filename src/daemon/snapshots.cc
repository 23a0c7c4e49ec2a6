// Snapshots: made by sessions, kept by `weir snapshot`.
#include "daemon/snapshots.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "daemon/command.h"
#include "daemon/handlers.h"
#include "daemon/session_call.h"
#include "daemon/streamed_command.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr unsigned kSeconds = 60;
constexpr unsigned kSnapshotSeconds = 600;
constexpr unsigned kImportSeconds = 1800;

std::unexpected<wire::Refusal> no_snapshot(const std::string& name) {
  return refuse(ErrorCode::snapshot_not_found, "there is no snapshot " + name);
}

std::string text_of(const Json& object, const char* key) {
  const Json* const member = json_member(object, key);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

bool is_called(const Json& snapshot, const std::string& name) {
  return text_of(snapshot, "id") == name || text_of(snapshot, "name") == name;
}

// The one that is called so and may be seen.
Task<wire::Answer<Json>> find_snapshot(Daemon& daemon, std::string name, const Principal& who) {
  auto all = co_await all_snapshots(daemon, who);
  WEIR_CO_CHECK(all);
  for (const Json& snapshot : *all) {
    if (!is_called(snapshot, name)) continue;
    if (daemon.store.is_visible(Owned::snapshot, text_of(snapshot, "id"), who)) co_return snapshot;
  }
  co_return no_snapshot(name);
}

// Templates that are there without a snapshot of that name (cli/snapshot_input.cc).
constexpr std::array<std::string_view, 2> kShippedTemplates = {"python", "code-interpreter"};

bool ships(std::string_view name) {
  return std::ranges::find(kShippedTemplates, name) != kShippedTemplates.end();
}

// Others would begin with a token's files where they ask for the template.
wire::Answer<> check_name(std::string_view name, const Principal& who) {
  if (who.is_owner() || !ships(name)) return {};
  return refuse(ErrorCode::forbidden, "a template that ships with weir has the name '" + std::string(name) + "'",
                "choose another name");
}

Outcome own_snapshot(Daemon& daemon, const std::string& text, const Principal& who) {
  const auto document = parse_json(text);
  const std::string id = document ? text_of(*document, "id") : "";
  if (id.empty()) return refuse(ErrorCode::internal, "the snapshot has no id");
  if (const auto owned = daemon.store.own(Owned::snapshot, id, who); !owned) return internal(owned.error());
  return json_reply(201, text);
}

}  // namespace

Task<wire::Answer<std::vector<Json>>> all_snapshots(Daemon& daemon, const Principal& who) {
  auto ended = co_await run_command(daemon, who, {.words = {"snapshot", "ls", "--output=json"}}, kSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  const auto document = parse_json(ended->out);
  if (!document || !document->is_array()) co_return refuse(ErrorCode::internal, "weir snapshot ls says nonsense");
  co_return std::vector<Json>(document->begin(), document->end());
}

Task<wire::Answer<CreateWords>> with_own_snapshots(Daemon& daemon, CreateWords words, const Principal& who) {
  if (who.is_owner()) co_return words;
  for (std::string& word : words.words) {
    const bool is_template = word.starts_with("--template=");
    if (!is_template && !word.starts_with("--snapshot=")) continue;
    const std::string name = word.substr(word.find('=') + 1);
    auto all = co_await all_snapshots(daemon, who);
    WEIR_CO_CHECK(all);
    const auto found = std::ranges::find_if(*all, [&](const Json& each) { return is_called(each, name); });
    // A template that is no snapshot is one that ships with weir, or an image. Which one is said here: by the time the
    // session is made, somebody else's snapshot may have the name.
    if (found == all->end() && is_template) {
      if (ships(name)) continue;
      const bool has_image =
          std::ranges::any_of(words.words, [](const auto& each) { return each.starts_with("--image="); });
      if (has_image) co_return refuse(ErrorCode::bad_request, "'template' and 'image' together", "keep one of them");
      word = "--image=" + name;
      continue;
    }
    const std::string id = found == all->end() ? "" : text_of(*found, "id");
    if (id.empty() || !daemon.store.is_visible(Owned::snapshot, id, who)) co_return no_snapshot(name);
    word = "--snapshot=" + id;
  }
  co_return words;
}

Task<Outcome> create_snapshot(Call& call, std::string body) {
  WEIR_CO_TRY(SnapshotBody wanted, parse_snapshot(body));
  const auto free = check_name(wanted.snapshot.name, call.who);
  WEIR_CO_CHECK(free);
  auto session = co_await SessionCall::open(call.daemon, wanted.session, call.who);
  WEIR_CO_CHECK(session);
  WEIR_CO_CHECK(session->send(wanted.snapshot));
  auto reply = co_await session->receive(in_seconds(kSnapshotSeconds));
  WEIR_CO_CHECK(reply);
  const auto* const made = reply->as<wire::SnapshotInfo>();
  if (made == nullptr) co_return refuse(ErrorCode::internal, "the session says something else than what was asked");
  co_return own_snapshot(call.daemon, made->json, call.who);
}

Task<Outcome> list_snapshots(Call& call, std::string) {
  auto all = co_await all_snapshots(call.daemon, call.who);
  WEIR_CO_CHECK(all);
  std::string items;
  for (const Json& snapshot : *all) {
    if (!call.daemon.store.is_visible(Owned::snapshot, text_of(snapshot, "id"), call.who)) continue;
    items += (items.empty() ? "" : ",") + snapshot.dump();
  }
  co_return json_reply(200, "{\"snapshots\":[" + items + "]}");
}

Task<Outcome> show_snapshot(Call& call, std::string) {
  auto found = co_await find_snapshot(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  co_return json_reply(200, found->dump());
}

Task<Outcome> delete_snapshot(Call& call, std::string) {
  auto found = co_await find_snapshot(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  const std::string id = text_of(*found, "id");
  auto ended = co_await run_command(call.daemon, call.who, {.words = {"snapshot", "rm", "--output=json", "--", id}},
                                    kSnapshotSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  call.daemon.store.disown(Owned::snapshot, id);
  co_return no_content();
}

Task<Outcome> export_snapshot(Call& call, std::string) {
  auto found = co_await find_snapshot(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  auto sent = co_await send_output(call, {"snapshot", "export", "--", text_of(*found, "id"), "-"}, "application/x-tar");
  co_return sent;
}

Task<Outcome> import_snapshot(Call& call, std::string) {
  const auto free = check_name(call.parameter(0), call.who);
  WEIR_CO_CHECK(free);
  auto spooled = co_await spool_body(call);
  WEIR_CO_CHECK(spooled);
  Command command{.words = {"snapshot", "import", "--output=json", "--name=" + call.parameter(0), "--",
                            "/dev/fd/" + std::to_string(kSpooledFd)},
                  .kind = Command::Kind::transfer};
  command.inherited.push_back(std::move(*spooled));
  auto ended = co_await run_command(call.daemon, call.who, std::move(command), kImportSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of_archive(*ended));
  co_return own_snapshot(call.daemon, ended->out, call.who);
}

}  // namespace weir::daemon
