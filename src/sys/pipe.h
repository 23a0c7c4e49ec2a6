// pipe2(2). Both ends are closed on exec.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

struct Pipe {
  OwnedFd reading;
  OwnedFd writing;
};

// Both ends block, as programs expect it.
Result<Pipe> make_pipe();

// This process's end does not block; the other one does. Each end has flags of its own.
enum class OwnEnd : std::uint8_t { reading, writing };
Result<Pipe> make_pipe(OwnEnd own);

}  // namespace weir::sys
