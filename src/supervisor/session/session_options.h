// The seam between the command line and the supervisor of a session: what `weir session create` was told, checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/registry.h"
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
  // Without a connection and a process for so long it stops, or falls asleep; nothing: it may be idle for ever.
  std::optional<std::chrono::milliseconds> idle = {};
  enum class OnIdle : std::uint8_t { stop, snapshot } on_idle = OnIdle::stop;
  // A script for /bin/sh that is begun with the session; empty: none.
  std::string bootstrap = {};
  // What happens when it ends.
  enum class Restart : std::uint8_t { no, on_failure, always } restart = Restart::on_failure;
  // What spec.tools led to when the session was made; only with OnIdle::snapshot.
  std::vector<std::string> tool_sources = {};
  // Of run.begun_from.layers, those that it was made with: the others are its own, from before it slept.
  std::size_t layers_below = 0;

  // Of one that has slept: where it goes on.
  struct Slept {
    std::string snapshot = {};                     // the id of the one that its files are in
    std::string created = {};                      // RFC 3339
    std::uint64_t expires_at = 0;                  // seconds since 1970; 0: never
    std::uint64_t sequence = 0;                    // of the last line of its record, at least
    std::optional<std::uint64_t> disk_bytes = {};  // --disk; spec.limits has what its layers leave of it
    bool operator==(const Slept&) const = default;
  };
  std::optional<Slept> slept = {};
  // --disk, as it was asked for.
  std::optional<std::uint64_t> disk_bytes() const { return slept ? slept->disk_bytes : run.spec.limits.disk_bytes; }
  // With it: the folder that it slept in.
  std::shared_ptr<session::OwnFolder> folder = {};

  enum class Report : std::uint8_t { text, json } report = Report::text;
};

// "no", "on-failure", "always".
constexpr std::string_view name_of(SessionOptions::Restart restart) {
  constexpr std::string_view kNames[] = {"no", "on-failure", "always"};
  return kNames[static_cast<std::size_t>(restart)];
}

// What `weir session create` and `weir session wake` do: the supervisor of a session, child of nobody, is left behind
// when this returns. One that cannot be woken sleeps on.
// Prints the id, or the session as JSON. Returns the exit code: 0, or kExitOwnFailure after saying why (with
// Report::json as {"error": ...} on standard output). `inherited`: descriptors that this process was started with,
// which the supervisor shall not keep open. Call from the main thread of a process without others.
int create_session(SessionOptions options, const std::vector<int>& inherited);

}  // namespace weir::supervisor
