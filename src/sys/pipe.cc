#include "sys/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "sys/errno.h"

namespace weir::sys {

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error("cannot make a pipe");
  return Pipe{.reading = OwnedFd(ends[0]), .writing = OwnedFd(ends[1])};
}

Result<Pipe> make_pipe(OwnEnd own) {
  WEIR_TRY(Pipe pipe, make_pipe());
  const OwnedFd& mine = own == OwnEnd::reading ? pipe.reading : pipe.writing;
  if (::fcntl(mine.get(), F_SETFL, O_NONBLOCK) != 0) return errno_error("cannot prepare a pipe");
  return pipe;
}

}  // namespace weir::sys
