// `weir` commands that the daemon has run: what makes sessions, images and exports.
#pragma once

#include <string>
#include <vector>

#include "daemon/daemon.h"
#include "sys/spawn.h"
#include "wire/session_reply.h"

namespace weir::daemon {

struct Command {
  std::vector<std::string> words;            // behind `weir`
  std::vector<sys::OwnedFd> inherited = {};  // become 3, 4 ...; one that is not valid is left out
  // transfer: it moves an archive, and takes as long as that takes.
  enum class Kind : std::uint8_t { brief, transfer } kind = Kind::brief;
};

struct Ended {
  int exit_code = 0;
  std::string out;
  std::string err;
};

// Waits for its turn (`too_many` where it does not come), runs it and takes what it prints, at most 16 MiB of either. A
// command that takes longer than `seconds` is killed. `unavailable`: it was killed, or there is no memory for all that
// it prints; what it was to make may be there.
Task<wire::Answer<Ended>> run_command(Daemon& daemon, Principal who, Command command, unsigned seconds);

// A file in memory with this content, to be read from its beginning.
Result<sys::OwnedFd> file_in_memory(std::string_view content);

// What a command that failed is to the caller: the refusal that it printed as JSON, or its last line.
wire::Refusal refusal_of(const Ended& ended);
// The same of an import, where what has no code of its own is a matter of the archive, or of its name: bad_request.
wire::Refusal refusal_of_archive(const Ended& ended);

// A command whose input or output is streamed: started by itself, ended when this dies.
class RunningCommand {
 public:
  // `daemon` outlives it.
  static Result<RunningCommand> start(const Daemon& daemon, Command command, int in, int out, int err);
  RunningCommand(RunningCommand&& other) noexcept
      : executor_(other.executor_), process_(std::exchange(other.process_, sys::Spawned{})) {}
  RunningCommand& operator=(RunningCommand&&) = delete;
  ~RunningCommand();

  // Readable when it has ended.
  int pidfd() const { return process_.pidfd.get(); }
  // After it has ended: 128 + n where a signal ended it.
  int exit_code();
  void kill();

 private:
  RunningCommand(Executor executor, sys::Spawned process)
      : executor_(std::move(executor)), process_(std::move(process)) {}
  Executor executor_;
  sys::Spawned process_;
};

}  // namespace weir::daemon
