// The gateway's second wall: what hostile code inside it could still do.
#pragma once

#include "base/error.h"

namespace weir::gateway {

// Drops every capability and installs a seccomp allow list: read, write, send and receive without an address, accept,
// splice, pipes, epoll, memory, time. No socket, connect, bind, listen, open, execve, clone, kill, ptrace, ioctl;
// no sendmsg (an address could ride in it); sendto only without an address; setsockopt only the options the relay
// needs. Anything else ends the process. Cannot be undone. Single-threaded processes only.
Result<> confine();

}  // namespace weir::gateway
