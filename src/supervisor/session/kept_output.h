// What a detached process prints: moved from a pipe into a bounded file without being looked at.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class KeptOutput {
 public:
  // What comes beyond it is dropped, so that nobody waits for a reader.
  static constexpr std::uint64_t kMaxBytes = 16ull << 20;

  // What all outputs of a session together may still keep, in bytes. One that goes gives back what it kept.
  struct Budget {
    std::uint64_t left = 0;
  };

  // Makes the file `name` in `folder`, which outlives it as `budget` does, and a pipe. `on_grown` is called when more
  // is kept.
  static Result<std::unique_ptr<KeptOutput>> create(sys::Reactor& reactor, const sys::OwnedFd& folder, std::string name,
                                                    std::function<void()> on_grown, Budget& budget,
                                                    std::uint64_t max_bytes = kMaxBytes);
  // Removes the file. Who still writes gets SIGPIPE.
  ~KeptOutput();
  KeptOutput(const KeptOutput&) = delete;
  KeptOutput& operator=(const KeptOutput&) = delete;

  // The end that the process writes to; once.
  sys::OwnedFd take_writer() { return std::move(writer_); }
  // Takes what is in the pipe now. Bounded: at most what a pipe holds.
  void drain();

  std::uint64_t bytes() const { return bytes_; }
  // More was printed than is kept.
  bool truncated() const { return dropped_ != 0; }
  // The file, to be read from its start.
  Result<sys::OwnedFd> open() const;

 private:
  KeptOutput(sys::Reactor& reactor, const sys::OwnedFd& folder, std::string name, std::function<void()> on_grown,
             Budget& budget, std::uint64_t max_bytes);
  struct Readable;
  void on_readable();
  // False: nothing more is there now, or ever.
  bool move_some();
  void start_dropping();
  void close_pipe();

  sys::Reactor& reactor_;
  const sys::OwnedFd& folder_;
  std::string name_;
  std::function<void()> on_grown_;
  Budget& budget_;
  std::uint64_t max_bytes_;
  sys::OwnedFd file_;
  sys::OwnedFd reader_;
  sys::OwnedFd writer_;
  // Outlives it: the round of events in which it goes may have one for it.
  std::unique_ptr<Readable> handler_;
  std::uint64_t bytes_ = 0;
  bool drops_ = false;  // file_ is /dev/null
  std::uint64_t dropped_ = 0;
};

}  // namespace weir::supervisor
