// A sandbox that runs: a session of weir (docs/decisions/0018), whose supervisor is a process of its own.
//
// Calls block. One Sandbox may be used by several threads at once, but for stop(), moving and destroying it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/failure.h"
#include "weir/mode.h"

namespace weir {

// A destination that was asked for and not reached.
struct Refusal {
  std::string destination;  // "evil.example:443", or a name alone where only the name was asked for
  std::string reason;       // of the closed list in docs/policy.md: "no-rule", "floor" ...
  std::uint64_t times = 0;
};

struct RunResult {
  int exit_code = 0;  // the command's; 128+n for a signal; 124 timeout; 126 cannot execute; 127 not found
  std::string out;    // what it printed, at most RunOptions::max_output bytes
  std::string err;
  bool truncated = false;  // it printed more than that
  bool timed_out = false;
  std::chrono::milliseconds duration{0};
  std::vector<Refusal> refused;     // what the sandbox was refused meanwhile
  std::vector<std::string> limits;  // that were reached meanwhile
  std::string not_executed;         // why it could not be executed; with 126 and 127
};

struct RunOptions {
  std::string input = {};                                     // its standard input
  std::vector<std::pair<std::string, std::string>> env = {};  // on top of the sandbox's
  std::string cwd = {};                                       // absolute inside; empty: the sandbox's
  std::chrono::milliseconds timeout{0};                       // 0: none
  std::size_t max_output = std::size_t{8} << 20;              // bytes of each stream that are kept
  // A narrower network for this command alone; a wider one is the failure "cannot_widen".
  std::optional<Mode> network = {};
  std::vector<std::string> allow = {};
  std::vector<std::string> deny = {};
};

class Sandbox {
 public:
  Sandbox(Sandbox&&) noexcept;
  Sandbox& operator=(Sandbox&&) noexcept;
  // stop().
  ~Sandbox();

  // As `weir session show ID` finds it.
  const std::string& id() const;
  // "127.0.0.1:8080:80", with the port that was chosen.
  const std::vector<std::string>& ports() const;

  // Runs a program and waits for its end. One that fails is no Failure: look at exit_code.
  Expected<RunResult> run(const std::vector<std::string>& argv, const RunOptions& options = {}) const;
  // The same with a line for /bin/sh.
  Expected<RunResult> shell(std::string line, const RunOptions& options = {}) const;

  // Writes a file, whole or not at all; folders above it are made. `path` is absolute inside, `mode` permission bits.
  Expected<> put(const std::string& path, std::string_view bytes, unsigned mode = 0644) const;
  // The bytes of a file; more than `max_bytes` are the failure "too_large".
  Expected<std::string> get(const std::string& path, std::size_t max_bytes = std::size_t{64} << 20) const;

  // Ends it and everything in it, and waits until that is gone. Idempotent.
  Expected<> stop();

 private:
  friend class SandboxBuilder;
  struct Session;
  explicit Sandbox(std::unique_ptr<Session> session);
  std::unique_ptr<Session> session_;  // empty: it was moved from, or stopped
};

}  // namespace weir
