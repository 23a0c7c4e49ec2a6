// Snapshots: made by sessions, kept by `weir snapshot`.
#include "daemon/snapshots.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <limits>
#include <map>

#include "daemon/command.h"
#include "daemon/handlers.h"
#include "daemon/session_call.h"
#include "daemon/streamed_command.h"
#include "daemon/things.h"
#include "image/templates.h"

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

bool has_id(const std::vector<Json>& snapshots, const std::string& id) {
  return std::ranges::any_of(snapshots, [&](const Json& each) { return text_of(each, "id") == id; });
}

// As `who` sees it: by the name that its token gave it, and where it is the machine's owner, with that token's.
Json as_seen(Daemon& daemon, Json snapshot, const Principal& who) {
  const std::string id = text_of(snapshot, "id");
  const auto whose = daemon.store.whose(Owned::snapshot, id);
  if (!whose) return snapshot;
  snapshot["name"] = whose->name.empty() ? id : whose->name;
  if (who.is_owner()) snapshot["owner"] = whose->owner;
  return snapshot;
}

// Those that may be seen. Rows of what is not there any more go.
Task<wire::Answer<std::vector<Json>>> own_snapshots(Daemon& daemon, const Principal& who) {
  // What is made while the list is read is not in it, and not gone either.
  const auto before =
      who.is_owner() ? Result<std::vector<Store::Thing>>() : daemon.store.things_of(Owned::snapshot, who);
  if (!before) co_return internal(before.error());
  const auto was_there = [&](const std::string& id) {
    return std::ranges::find(*before, id, &Store::Thing::id) != before->end();
  };
  const std::map<std::string, std::string, std::less<>> making = daemon.making;
  auto all = co_await all_snapshots(daemon, who);
  WEIR_CO_CHECK(all);
  if (who.is_owner()) co_return all;
  const auto things = present_things(daemon, Owned::snapshot, who, [&](const std::string& id) -> Result<bool> {
    if (has_id(*all, id)) return true;
    if (!was_there(id) || making.contains(id)) return fail("it was made while the list was read");
    return false;
  });
  WEIR_CO_CHECK(things);
  std::erase_if(*all, [&](const Json& each) {
    return std::ranges::find(*things, text_of(each, "id"), &Store::Thing::id) == things->end();
  });
  co_return all;
}

// The one that is called so and may be seen.
Task<wire::Answer<Json>> find_snapshot(Daemon& daemon, std::string name, const Principal& who) {
  auto own = co_await own_snapshots(daemon, who);
  WEIR_CO_CHECK(own);
  const std::string id = who.is_owner() ? name : daemon.store.id_called(Owned::snapshot, name, who);
  for (const Json& snapshot : *own) {
    if (who.is_owner() ? is_called(snapshot, name) : text_of(snapshot, "id") == id) co_return snapshot;
  }
  co_return no_snapshot(name);
}

// Each layer once, in however many of them it is.
std::uint64_t bytes_of(const std::vector<Json>& snapshots) {
  std::map<std::string, std::uint64_t> layers;
  for (const Json& snapshot : snapshots) {
    const Json* const all = json_member(snapshot, "layers");
    if (all == nullptr || !all->is_array()) continue;
    for (const Json& layer : *all) {
      const Json* const bytes = json_member(layer, "bytes");
      if (bytes != nullptr && bytes->is_number_unsigned())
        layers[text_of(layer, "digest")] = bytes->get<std::uint64_t>();
    }
  }
  std::uint64_t sum = 0;
  for (const auto& [digest, bytes] : layers) sum += bytes;
  return sum;
}

std::unexpected<wire::Refusal> no_disk_left(std::uint64_t budget) {
  return refuse(ErrorCode::limit,
                "what this token may keep on the disk is used up: " + std::to_string(budget) +
                    " bytes of snapshots, imports and stored answers",
                "delete snapshots, or ask the machine's owner: weir serve --max-disk-per-token");
}

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

// What archives that are being imported may take, those that are under way included. Refused where nothing is left.
wire::Answer<std::uint64_t> disk_left(Daemon& daemon, const std::vector<Json>& own, const Principal& who) {
  const std::uint64_t budget = daemon.limits.disk_per_token;
  if (who.is_owner() || budget == 0) return kAny;
  const std::uint64_t kept = bytes_of(own) + daemon.store.answer_bytes(who);
  if (kept >= budget || daemon.spooled[owner_key(who)] >= budget - kept) return no_disk_left(budget);
  return budget - kept;
}

Task<wire::Answer<>> remove_snapshot(Daemon& daemon, const Principal& who, std::string id) {
  auto ended =
      co_await run_command(daemon, who, {.words = {"snapshot", "rm", "--output=json", "--", id}}, kSnapshotSeconds);
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of(*ended));
  daemon.store.disown(Owned::snapshot, id);
  co_return wire::Answer<>();
}

// What has been made, unless it is more than its owner may keep. What it is worth is known only now.
Task<Outcome> keep_snapshot(Call& call, NewThing thing, std::string text) {
  auto document = parse_json(text);
  const std::string id = document ? text_of(*document, "id") : "";
  if (id.empty()) co_return refuse(ErrorCode::internal, "the snapshot has no id");
  WEIR_CO_CHECK(thing.is_made());
  auto own = co_await own_snapshots(call.daemon, call.who);
  WEIR_CO_CHECK(own);
  const auto left = disk_left(call.daemon, *own, call.who);
  if (left) co_return json_reply(201, as_seen(call.daemon, std::move(*document), call.who).dump());
  const auto gone = co_await remove_snapshot(call.daemon, call.who, id);
  WEIR_CO_CHECK(gone);
  co_return std::unexpected(left.error());
}

// Notes one that is to be made, where there is room for it.
struct Room {
  NewThing thing;
  std::uint64_t disk;
};
Task<wire::Answer<Room>> begin_snapshot(Daemon& daemon, const Principal& who, std::string name) {
  auto own = co_await own_snapshots(daemon, who);
  WEIR_CO_CHECK(own);
  const auto left = disk_left(daemon, *own, who);
  WEIR_CO_CHECK(left);
  auto thing = begin_thing(daemon, Owned::snapshot, who, name, [&](const std::string& id) { return has_id(*own, id); });
  WEIR_CO_CHECK(thing);
  co_return Room{.thing = std::move(*thing), .disk = *left};
}

// A session that does not answer, or ended in the middle, may have made it or still make it, and so may a command that
// was killed: then it stays its caller's.
void note_failure(NewThing& thing, const wire::Refusal& refusal) {
  const bool is_known =
      refusal.code != ErrorCode::unavailable && refusal.code != ErrorCode::gone && refusal.code != ErrorCode::internal;
  if (is_known) thing.failed();
}

// The archive is gone again when this ends.
Task<wire::Answer<Ended>> run_import(Call& call, std::string id, std::uint64_t left) {
  auto spooled = co_await spool_body(call, left);
  WEIR_CO_CHECK(spooled);
  Command command{.words = {"snapshot", "import", "--output=json", "--id=" + id}, .kind = Command::Kind::transfer};
  if (call.who.is_owner()) command.words.push_back("--name=" + call.parameter(0));
  command.words.insert(command.words.end(), {"--", spooled->path()});
  auto ended = co_await run_command(call.daemon, call.who, std::move(command), kImportSeconds);
  co_return ended;
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
    auto found = co_await find_snapshot(daemon, name, who);
    if (found) {
      word = "--snapshot=" + text_of(*found, "id");
      continue;
    }
    if (found.error().code != ErrorCode::snapshot_not_found || !is_template) co_return std::unexpected(found.error());
    // A template that is no snapshot is one that ships with weir, or an image. Which one is said here: by the time the
    // session is made, somebody else's snapshot may have the name.
    if (image::ships_template(name)) {
      auto all = co_await all_snapshots(daemon, who);
      WEIR_CO_CHECK(all);
      if (std::ranges::any_of(*all, [&](const Json& each) { return is_called(each, name); }))
        co_return no_snapshot(name);
      continue;
    }
    const bool has_image =
        std::ranges::any_of(words.words, [](const auto& each) { return each.starts_with("--image="); });
    if (has_image) co_return refuse(ErrorCode::bad_request, "'template' and 'image' together", "keep one of them");
    word = "--image=" + name;
  }
  co_return words;
}

Task<Outcome> create_snapshot(Call& call, std::string body) {
  WEIR_CO_TRY(SnapshotBody wanted, parse_snapshot(body));
  const auto place = co_await call.daemon.transfers.enter(owner_key(call.who));
  WEIR_CO_CHECK(place);
  auto session = co_await SessionCall::open(call.daemon, wanted.session, call.who);
  WEIR_CO_CHECK(session);
  auto room = co_await begin_snapshot(call.daemon, call.who, wanted.snapshot.name);
  WEIR_CO_CHECK(room);
  NewThing& thing = room->thing;
  wanted.snapshot.id = thing.id();
  if (!call.who.is_owner()) wanted.snapshot.name.clear();
  const auto sent = session->send(wanted.snapshot);
  if (!sent) thing.failed();
  WEIR_CO_CHECK(sent);
  auto reply = co_await session->receive(in_seconds(kSnapshotSeconds));
  if (!reply) note_failure(thing, reply.error());
  WEIR_CO_CHECK(reply);
  const auto* const made = reply->as<wire::SnapshotInfo>();
  if (made == nullptr) co_return refuse(ErrorCode::internal, "the session says something else than what was asked");
  auto kept = co_await keep_snapshot(call, std::move(thing), made->json);
  co_return kept;
}

Task<Outcome> list_snapshots(Call& call, std::string) {
  auto own = co_await own_snapshots(call.daemon, call.who);
  WEIR_CO_CHECK(own);
  std::string items;
  for (const Json& snapshot : *own) {
    items += (items.empty() ? "" : ",") + as_seen(call.daemon, snapshot, call.who).dump();
  }
  co_return json_reply(200, "{\"snapshots\":[" + items + "]}");
}

Task<Outcome> show_snapshot(Call& call, std::string) {
  auto found = co_await find_snapshot(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  co_return json_reply(200, as_seen(call.daemon, std::move(*found), call.who).dump());
}

Task<Outcome> delete_snapshot(Call& call, std::string) {
  auto found = co_await find_snapshot(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  const auto gone = co_await remove_snapshot(call.daemon, call.who, text_of(*found, "id"));
  WEIR_CO_CHECK(gone);
  co_return no_content();
}

Task<Outcome> export_snapshot(Call& call, std::string) {
  auto found = co_await find_snapshot(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(found);
  auto sent = co_await send_output(call, {"snapshot", "export", "--", text_of(*found, "id"), "-"}, "application/x-tar");
  co_return sent;
}

Task<Outcome> import_snapshot(Call& call, std::string) {
  auto room = co_await begin_snapshot(call.daemon, call.who, call.parameter(0));
  WEIR_CO_CHECK(room);
  NewThing& thing = room->thing;
  auto ended = co_await run_import(call, thing.id(), room->disk);
  if (!ended) note_failure(thing, ended.error());
  WEIR_CO_CHECK(ended);
  if (ended->exit_code != 0) thing.failed();
  if (ended->exit_code != 0) co_return std::unexpected(refusal_of_archive(*ended));
  auto kept = co_await keep_snapshot(call, std::move(thing), std::move(ended->out));
  co_return kept;
}

}  // namespace weir::daemon
