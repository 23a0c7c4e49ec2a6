// The host's side of published ports: sockets bound before the sandbox starts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "policy/compiled/image.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {

struct PublishedPort {
  policy::Publish publish;  // `host` is the port that was bound, also where any free one was asked for
  sys::OwnedFd socket;      // TCP: listening; UDP: bound; non-blocking
  sys::OwnedFd mark;        // tells other supervisors that no sandbox may dial it (dial/published_marks.h)
};

// All of them, or an error that names the first that cannot be had, why, and what to do. Needs no privilege but where
// the port is below net.ipv4.ip_unprivileged_port_start.
Result<std::vector<PublishedPort>> open_published_ports(std::span<const policy::Publish> publishes);

}  // namespace weir::supervisor
