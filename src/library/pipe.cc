#include "library/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "sys/errno.h"

namespace weir::library {

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return sys::errno_error("cannot make a pipe");
  return Pipe{.reading = sys::OwnedFd(ends[0]), .writing = sys::OwnedFd(ends[1])};
}

}  // namespace weir::library
