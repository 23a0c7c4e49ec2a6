// What a process inside gets as standard input, output and error of the caller.
//
// A descriptor of the caller's terminal is never handed in: whoever keeps it (a process that goes on when the one that
// was asked for has ended) could read what is typed into it later, and write to it. In its place the process gets a
// pipe.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::cli {

class StandardStreams {
 public:
  // For descriptors 0, 1 and 2. An error where one is a folder.
  static Result<std::unique_ptr<StandardStreams>> prepare(sys::Reactor& reactor);
  ~StandardStreams();
  StandardStreams(const StandardStreams&) = delete;
  StandardStreams& operator=(const StandardStreams&) = delete;

  // To be passed, in order.
  std::array<int, 3> given() const { return given_; }
  // Once they were passed: this side lets go of the pipes' other ends and begins to carry bytes.
  Result<> begin();
  // After the end of the process: what it said last. Whoever else holds a pipe is not waited for.
  void drain();

 private:
  class Pump;

  explicit StandardStreams(sys::Reactor& reactor);
  Result<> replace(int standard);

  sys::Reactor& reactor_;
  std::array<int, 3> given_ = {0, 1, 2};
  std::vector<sys::OwnedFd> theirs_;  // until begin()
  std::vector<std::unique_ptr<Pump>> pumps_;
};

}  // namespace weir::cli
