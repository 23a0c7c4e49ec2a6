// Pipes to and from programs.
#pragma once

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::library {

struct Pipe {
  sys::OwnedFd reading;
  sys::OwnedFd writing;
};

// Both ends block.
Result<Pipe> make_pipe();

}  // namespace weir::library
