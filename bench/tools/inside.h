// A command in namespaces of its own (user, network), and a descriptor that was made in there before it began.
#pragma once

#include "sys/child_process.h"
#include "sys/owned_fd.h"
#include "tool.h"

namespace weir::bench {

struct Inside {
  sys::ChildProcess child;
  sys::OwnedFd fd;
};

// Runs `set_up` in the new namespaces, with all capabilities over them, then arguments.command. The caller's user and
// group are root inside. Ends the program where that is impossible.
Inside start_inside(const Arguments& arguments, Result<sys::OwnedFd> (*set_up)());

// How the command ended, as a shell tells it.
int exit_code(sys::ChildProcess& child);

}  // namespace weir::bench
