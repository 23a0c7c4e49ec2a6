#include "cli/session/reach.h"

namespace weir::cli {

Error error_of(wire::Refusal refusal) {
  return Error(std::move(refusal.message)).with_remedy(std::move(refusal.remedy));
}

Result<> require_service(const wire::SessionInfo& info) {
  if (info.service) return {};
  return std::unexpected(Error("session " + (info.name.empty() ? info.id : info.name) + " is no service")
                             .with_remedy("weir service ls lists those; weir session has the same commands"));
}

Result<> stop_session(const session::Registry& registry, std::string_view who, wire::StopSession how) {
  WEIR_TRY(const session::Stored stored, result_of(registry.find(who)));
  if (stored.info.state == session::kAsleep) {
    // Stopped it is already; removed it is only by who asks for that.
    if (!how.kill) return {};
    WEIR_TRY(session::OwnFolder folder, result_of(registry.take_asleep(stored.info.id)));
    folder.remove();
    return {};
  }
  WEIR_TRY(session::Connection connection, result_of(session::Connection::open(registry, stored.info.id)));
  WEIR_CHECK_OK(result_of(connection.send(how)));
  WEIR_CHECK_OK(reply_as<wire::Done>(connection.receive(sys::monotonic_ms() + kPatienceMs)));
  // Its end is that of everything inside, a grace time later at most, which is the session's own.
  const auto end = connection.receive();
  if (!end && end.error().code == wire::ErrorCode::gone) return {};
  return fail("session " + stored.info.id + " goes on");
}

}  // namespace weir::cli
