// What a session answers (docs/decisions/0018): lines of JSON, with descriptors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "wire/session_error.h"

namespace weir::wire {

// How a process ended.
struct ExitedProcess {
  struct Refused {
    std::string destination = {};
    std::string reason = {};
    std::uint64_t times = 0;
  };
  std::int64_t exit_code = 0;  // as weir run: 124, 126, 127, 128+n
  std::uint32_t signal = 0;    // that ended it; 0: none
  bool timed_out = false;
  std::uint64_t duration_ms = 0;
  static constexpr std::size_t kMaxRefused = 64;
  std::vector<Refused> refused = {};     // while it ran, at most kMaxRefused; in a list of processes none
  std::uint64_t refused_more = 0;        // destinations left out of it
  std::vector<std::string> limits = {};  // that were reached meanwhile: "memory", "pids", ...
  std::string not_executed = {};         // why, or empty
};

struct StartedProcess {
  std::uint32_t pid = 0;  // as seen inside
};

struct ProcessInfo {
  std::uint32_t pid = 0;
  std::string argv0 = {};
  bool detached = false;
  std::string started = {};  // RFC 3339
  std::optional<ExitedProcess> exited = {};
  std::uint64_t stdout_bytes = 0;  // detached: in its files
  std::uint64_t stderr_bytes = 0;
};

struct ProcessList {
  std::vector<ProcessInfo> processes = {};
};

struct Done {};  // {"ok": true}

struct OutputInfo {
  std::uint64_t stdout_bytes = 0;
  std::uint64_t stderr_bytes = 0;
  bool truncated = false;  // more was printed than is kept
  std::optional<ExitedProcess> exited = {};
};

struct FileInfo {
  std::uint64_t bytes = 0;
  std::uint32_t mode = 0;
  std::int64_t modified = 0;  // seconds since 1970
  std::string type = {};      // stat: "file", "folder", "link", "fifo", "socket", "device"
};

struct Narrowed {
  std::uint64_t generation = 0;
  std::string policy = {};
  std::uint64_t cut = 0;
  std::vector<std::string> warnings = {};
};

struct SnapshotInfo {
  std::string json = "{}";  // the object, as the store of snapshots writes it
};

// The main process of a session that is kept running.
struct ServiceInfo {
  std::string bootstrap = {};
  std::string restart = {};  // "no", "on-failure", "always"
  std::uint64_t restarts = 0;
  std::string health = {};  // "starting", "healthy", "unhealthy", "stopped"
  std::uint64_t pid = 0;    // of its process now, or the last one; 0: none has begun
};

// A session: also what session.json holds.
struct SessionInfo {
  using Labels = std::vector<std::pair<std::string, std::string>>;
  struct Limits {  // 0: none
    std::uint64_t memory_bytes = 0;
    std::uint64_t cpu_millis = 0;
    std::uint64_t processes = 0;
    std::uint64_t disk_bytes = 0;
  };
  struct Usage {
    std::uint64_t cpu_ms = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t processes = 0;
    std::uint64_t disk_bytes = 0;
    std::uint64_t flows = 0;
  };

  std::string id = {};
  std::string name = {};           // empty: none but its id
  std::string state = {};          // "running", "asleep"
  std::string created = {};        // RFC 3339
  std::string expires = {};        // RFC 3339; empty: never
  std::uint64_t idle_seconds = 0;  // 0: it may be idle for ever
  std::string on_idle = {};        // "stop", "snapshot"
  Labels labels = {};
  std::string network_mode = {};
  std::string policy = {};  // hash
  std::uint64_t generation = 1;
  std::string image = {};
  std::string snapshot = {};
  std::vector<std::string> ports = {};  // "127.0.0.1:8080:80"
  Limits limits = {};
  Usage usage = {};
  std::uint64_t processes = 0;
  std::string events = {};       // path of the record
  std::uint64_t supervisor = 0;  // pid
  std::optional<ServiceInfo> service = {};
};

using SessionReply = std::variant<Refusal, SessionInfo, StartedProcess, ExitedProcess, ProcessList, Done, OutputInfo,
                                  FileInfo, Narrowed, SnapshotInfo>;

// Newline included.
std::string session_reply_line(const SessionReply& reply);
// `line` without its newline. A key that is not known is passed over: a session may be younger than who asks it.
Result<SessionReply> parse_session_reply(std::string_view line);

// The object alone, for files and other documents.
void write_session(JsonWriter& json, const SessionInfo& session);
Result<SessionInfo> parse_session(const std::string& text);
void write_exited(JsonWriter& json, const ExitedProcess& exited);

}  // namespace weir::wire
