// From the head of a request to its answer.
#pragma once

#include "daemon/daemon.h"
#include "daemon/request_log.h"
#include "daemon/token_file.h"
#include "sys/owned_fd.h"

namespace weir::daemon {

// Who comes by a listener.
struct Access {
  // Null: whoever can open the socket is the machine's owner.
  const Tokens* tokens = nullptr;
};

// All requests of one connection (a stream socket, non-blocking). Never throws.
Task<> serve_connection(Daemon& daemon, RequestLog& log, Access access, sys::OwnedFd socket);

}  // namespace weir::daemon
