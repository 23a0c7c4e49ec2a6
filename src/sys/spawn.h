// Another program, started without a copy of this process.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

struct Spawn {
  std::string program;                   // a path
  std::vector<std::string> argv;         // with the name of the program first
  std::vector<std::string> environment;  // NAME=VALUE
  std::string folder;                    // where it starts
  // Become 0, 1, 2 ... of the program, which gets no others as long as all here are close-on-exec. -1: none there.
  std::vector<int> descriptors;
};

struct Spawned {
  pid_t pid = 0;  // to be reaped by the caller
  OwnedFd pidfd;  // readable when it has ended
};

// In a session of its own, no signal blocked or ignored. Errors name the program.
Result<Spawned> spawn(const Spawn& what);

}  // namespace weir::sys
