#include "cli/session/reach.h"

#include "image/snapshot/store.h"
#include "supervisor/session/sleep_plan.h"
#include "sys/files.h"

namespace weir::cli {

Error error_of(wire::Refusal refusal) {
  return Error(std::move(refusal.message)).with_remedy(std::move(refusal.remedy));
}

Result<> require_service(const wire::SessionInfo& info) {
  if (info.service) return {};
  return std::unexpected(Error("session " + (info.name.empty() ? info.id : info.name) + " is no service")
                             .with_remedy("weir service ls lists those; weir session has the same commands"));
}

void sweep_snapshots(Result<image::Snapshots> store) {
  if (store) static_cast<void>(store->list());
}

namespace {

void remove_with_snapshot(session::OwnFolder& folder) {
  const auto text = sys::read_file(folder.path_of(supervisor::kSleepPlan), supervisor::kMaxSleepPlan);
  const auto plan = text ? supervisor::parse_sleep_plan(*text) : std::unexpected(text.error());
  folder.remove();
  // Where that cannot be told, whoever comes to the snapshots next sweeps.
  if (plan) sweep_snapshots(image::Snapshots::open(plan->run.snapshots_folder));
}

// False: it is awake by now.
wire::Answer<bool> remove_asleep(const session::Registry& registry, const std::string& id) {
  auto folder = registry.take_asleep(id);
  if (!folder && folder.error().code == wire::ErrorCode::conflict) return false;
  if (!folder) return std::unexpected(std::move(folder).error());
  remove_with_snapshot(*folder);
  return true;
}

}  // namespace

Result<wire::SessionInfo> look_at(const session::Registry& registry, session::Stored stored,
                                  std::uint64_t patience_ms) {
  if (stored.info.state == session::kAsleep) return std::move(stored.info);
  auto live = session::ask(registry, stored.info.id, wire::ShowSession{}, sys::monotonic_ms() + patience_ms,
                           {.asleep = session::Asleep::leave});
  if (!live && live.error().code == wire::ErrorCode::unavailable) {
    WEIR_TRY(stored, result_of(registry.find(stored.info.id)));
    return std::move(stored.info);
  }
  return reply_as<wire::SessionInfo>(std::move(live));
}

Result<> stop_session(const session::Registry& registry, std::string_view who, wire::StopSession how) {
  std::string name(who);
  while (true) {
    const auto found = registry.find(name);
    if (!found) {
      auto damaged = registry.take_damaged(name);
      if (!damaged) return std::unexpected(error_of(found.error()));
      remove_with_snapshot(*damaged);
      return {};
    }
    const session::Stored& stored = *found;
    name = stored.info.id;
    if (stored.info.state == session::kAsleep) {
      WEIR_TRY(const bool removed, result_of(remove_asleep(registry, name)));
      if (removed) return {};
      continue;
    }
    auto connection = session::Connection::open(registry, name, {.asleep = session::Asleep::leave});
    if (!connection && connection.error().code == wire::ErrorCode::unavailable) continue;  // it fell asleep
    if (!connection) return std::unexpected(error_of(std::move(connection).error()));
    WEIR_CHECK_OK(result_of(connection->send(how)));
    WEIR_CHECK_OK(reply_as<wire::Done>(connection->receive(sys::monotonic_ms() + kPatienceMs)));
    // Its end is that of everything inside, a grace time later at most, which is the session's own.
    const auto end = connection->receive();
    if (!end && end.error().code == wire::ErrorCode::gone) return {};
    return fail("session " + name + " goes on");
  }
}

}  // namespace weir::cli
