// A network namespace whose TCP ends at one transparent listener: the control's own, without TUN, detour or policy.
#pragma once

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::bench {

// Call in a new network namespace with CAP_NET_ADMIN over it. getsockname() on what the listener accepts is where the
// connect was meant to go. IPv4 only.
Result<sys::OwnedFd> set_up_plain_capture();

}  // namespace weir::bench
