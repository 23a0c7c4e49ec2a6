// Commands whose input or output is as large as it likes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "daemon/command.h"
#include "daemon/daemon.h"

namespace weir::daemon {

// A body in a file of the daemon's own, which goes with this: programs open archives by their names, and more than
// once. Counted as its owner's as long as it lives.
class Spooled {
 public:
  Spooled(Daemon& daemon, const Principal& who) : sum_(&daemon.spooled[owner_key(who)]) {}
  Spooled(Spooled&& other) noexcept
      : sum_(std::exchange(other.sum_, nullptr)),
        bytes_(other.bytes_),
        path_(std::move(other.path_)),
        file_(std::move(other.file_)) {}
  Spooled& operator=(Spooled&&) = delete;
  ~Spooled();

  // Errors: as of the file; `limit` where the disk is full, or all archives of its owner would be more than `left`.
  wire::Answer<> append(Bytes bytes, std::uint64_t left);
  Result<> open(const std::string& folder);
  std::uint64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  std::uint64_t* sum_;
  std::uint64_t bytes_ = 0;
  std::string path_;
  sys::OwnedFd file_;
};

// The body of the request. `left`: bytes that all archives of whoever asks may take.
Task<wire::Answer<Spooled>> spool_body(Call& call, std::uint64_t left);

// Runs a command and sends what it prints as it comes. Its failure before the first byte is an error like any other;
// after that the answer has no end,
// nor has it where it is read too slowly (Pace).
Task<Outcome> send_output(Call& call, std::vector<std::string> words, std::string type);

}  // namespace weir::daemon
