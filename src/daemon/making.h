// Making a session, for whoever needs one.
#pragma once

#include "daemon/bodies.h"
#include "daemon/daemon.h"
#include "wire/session_reply.h"

namespace weir::daemon {

// Within the limits; it belongs to `who` when this ends.
Task<wire::Answer<wire::SessionInfo>> make_session(Daemon& daemon, CreateWords words, const Principal& who);

}  // namespace weir::daemon
