// Speaking to sessions from commands: what a session refuses becomes weir's own failure line.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "session/client.h"
#include "sys/reactor.h"
#include "wire/session_error.h"

namespace weir::image {
class Snapshots;
}

namespace weir::cli {

// A session that does not answer a small question by then stands still.
inline constexpr std::uint64_t kPatienceMs = 10'000;
// Of one in a list: the others are not held up.
inline constexpr std::uint64_t kListPatienceMs = 1'000;

Error error_of(wire::Refusal refusal);

template <class T>
Result<T> result_of(wire::Answer<T> answer) {
  if (!answer) return std::unexpected(error_of(std::move(answer).error()));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*answer);
  }
}

// The reply of the kind that the request is answered with.
template <class Kind>
Result<Kind> reply_as(wire::Answer<session::Connection::Reply> answer) {
  WEIR_TRY(auto reply, result_of(std::move(answer)));
  if (auto* const kind = std::get_if<Kind>(&reply.reply)) return std::move(*kind);
  return fail("the session answered something else than it was asked for");
}

// One question that is answered at once.
template <class Kind>
Result<Kind> ask_for(const session::Registry& registry, std::string_view who, const wire::SessionRequest& request) {
  return reply_as<Kind>(session::ask(registry, who, request, sys::monotonic_ms() + kPatienceMs));
}

// An error for a session that is none.
Result<> require_service(const wire::SessionInfo& info);

// One as it is, or as it fell asleep: nobody is woken by a look.
Result<wire::SessionInfo> look_at(const session::Registry& registry, session::Stored stored,
                                  std::uint64_t patience_ms = kPatienceMs);

// Snapshots in a store that sleeping sessions consisted of which are no more. Where that fails whoever comes next does.
void sweep_snapshots(Result<image::Snapshots> store);

// Ends one, and waits for its end; one that is asleep is removed with everything it had.
Result<> stop_session(const session::Registry& registry, std::string_view who, wire::StopSession how);

}  // namespace weir::cli
