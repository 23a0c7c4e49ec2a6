// Moving bytes through pipes without ever standing still.
#pragma once

#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "daemon/asio.h"
#include "sys/owned_fd.h"
#include "sys/pipe.h"
#include "wire/session_error.h"

namespace weir::daemon {

// 0 bytes and `more`: nothing is there yet, or it takes nothing now.
struct Moved {
  enum class State : std::uint8_t { more, ended } state = State::more;
  std::size_t bytes = 0;
};

// Of a pipe whose end is this process's own and non-blocking. `ended`: there will be nothing more, or nobody reads.
Moved read_some(int fd, MutableBytes into);
Moved write_some(int fd, std::string_view bytes);

// The end of a pipe that somebody else made, who could make it block at any time: what is moved goes through a pipe of
// this process's own by splice(2), which does not block whatever the flags of the other say.
class ForeignPipe {
 public:
  // Errors: it is no pipe.
  static Result<ForeignPipe> take(sys::OwnedFd fd);

  int fd() const { return fd_.get(); }
  Moved read_some(MutableBytes into);
  // What is taken is `bytes` or less; what is taken and does not fit yet is kept, and goes out with the next call,
  // which may have nothing new.
  Moved write_some(std::string_view bytes);
  // Bytes that were taken and are not out yet.
  std::size_t kept() const { return kept_; }
  void close() { fd_.reset(); }

 private:
  ForeignPipe(sys::OwnedFd fd, sys::Pipe own) : fd_(std::move(fd)), own_(std::move(own)) {}
  sys::OwnedFd fd_;
  sys::Pipe own_;
  std::size_t kept_ = 0;
};

// All of it; `timeout` where nothing is taken for 30 s, `gone` where nobody reads any more.
Task<wire::Answer<>> write_all(Executor executor, ForeignPipe& pipe, std::string_view bytes);

// Whether it is a regular file, which can be read and written without waiting for anybody.
bool is_regular_file(int fd);

}  // namespace weir::daemon
