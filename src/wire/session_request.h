// What is asked on the socket of a session (docs/decisions/0018): one line of JSON, with descriptors.
//
//   {"op": "run", "argv": ["make", "test"], "timeout_ms": 60000}
//
// Unknown keys, keys of another op and wrong types are errors. Answers: wire/session_reply.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "wire/control_request.h"

namespace weir::wire {

struct ShowSession {};

// A process inside: attached to its connection, or detached.
struct RunProcess {
  static constexpr std::uint64_t kMaxTimeoutMs = 100ull * 365 * 24 * 3600 * 1000;
  std::vector<std::string> argv = {};  // never empty once parsed: "command" has become /bin/sh -c COMMAND
  std::vector<std::pair<std::string, std::string>> env = {};  // on top of the session's
  std::string cwd = {};                                       // absolute inside, or empty
  std::uint64_t timeout_ms = 0;                               // 0: none
  bool terminal = false;
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  bool detach = false;
  bool keeps_stdin = false;  // "stdin": detached, and its standard input stays open
  // A narrower network for this process alone: no mode is the session's own.
  std::string network_mode = {};
  std::vector<std::string> network_allowlist = {};
  std::vector<std::string> network_denylist = {};
  bool freeze = false;
  bool keep_files = false;

  bool overrides_network() const {
    return !network_mode.empty() || !network_allowlist.empty() || !network_denylist.empty();
  }
};

struct ListProcesses {};
struct SignalProcess {
  std::uint32_t pid = 0;
  int signal = 0;
};
struct FeedProcess {  // "stdin"
  std::uint32_t pid = 0;
  bool close = false;
};
struct ReadOutput {
  std::uint32_t pid = 0;
  bool follow = false;
};
struct ResizeTerminal {
  std::uint32_t pid = 0;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};
struct FileRequest {
  enum class Do : std::uint8_t { get, put, list, stat, remove, make_folder, tar, untar };
  Do what = Do::stat;
  std::string path = {};  // absolute inside
  std::uint32_t mode = 0644;
  bool recursive = false;
};
struct MakeSnapshot {
  std::string id = {};  // empty: it is drawn
  std::string name = {};
  std::vector<std::pair<std::string, std::string>> labels = {};
};
struct StopSession {
  bool kill = false;  // no grace
};

// ControlRequest: narrow, seal.
using SessionRequest = std::variant<ShowSession, RunProcess, ListProcesses, SignalProcess, FeedProcess, ReadOutput,
                                    ResizeTerminal, FileRequest, ControlRequest, MakeSnapshot, StopSession>;

// `line` without its newline.
Result<SessionRequest> parse_session_request(std::string_view line);
// {"commit": true}: the second line of a put.
Result<> parse_commit(std::string_view line);
inline constexpr std::string_view kCommitLine = "{\"commit\":true}\n";

// What parse_session_request() reads, newline included.
std::string session_request_line(const SessionRequest& request);

}  // namespace weir::wire
