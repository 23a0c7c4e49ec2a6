// The seam between the command line and the supervisor of a session: what `weir session create` was told, checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/run_options.h"
#include "wire/session_reply.h"

namespace weir::supervisor {

struct SessionOptions {
  // As for weir run, without a command: spec.argv is empty, spec.lives_on is set.
  RunOptions run;
  std::string name = {};  // empty: it has none but its id
  // given: run.spec.id is the caller's, and another one is no answer where it is taken.
  enum class Id : std::uint8_t { drawn, given } id = Id::drawn;
  wire::SessionInfo::Labels labels = {};
  // From the moment it stands; nothing: for ever.
  std::optional<std::chrono::milliseconds> ttl = {};
  // Without a connection and a process for so long it stops; nothing: it may be idle for ever.
  std::optional<std::chrono::milliseconds> idle = {};
  // A script for /bin/sh that is begun with the session; empty: none.
  std::string bootstrap = {};
  // What happens when it ends.
  enum class Restart : std::uint8_t { no, on_failure, always } restart = Restart::on_failure;
  std::vector<std::string> create = {};  // the words behind `weir session create`
  std::string called_in = {};            // the folder they were said in
  enum class Report : std::uint8_t { text, json } report = Report::text;
};

// "no", "on-failure", "always".
constexpr std::string_view name_of(SessionOptions::Restart restart) {
  constexpr std::string_view kNames[] = {"no", "on-failure", "always"};
  return kNames[static_cast<std::size_t>(restart)];
}

// What `weir session create` does: the supervisor of a new session, child of nobody, is left behind when this returns.
// Prints the id, or the session as JSON. Returns the exit code: 0, or kExitOwnFailure after saying why (with
// Report::json as {"error": ...} on standard output). `inherited`: descriptors that this process was started with,
// which the supervisor shall not keep open. Call from the main thread of a process without others.
int create_session(SessionOptions options, const std::vector<int>& inherited);

}  // namespace weir::supervisor
