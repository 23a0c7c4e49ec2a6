// What a Sandbox holds.
#pragma once

#include "session/registry.h"
#include "weir/sandbox.h"
#include "wire/session_reply.h"

namespace weir {

struct Sandbox::Session {
  session::Registry registry;
  wire::SessionInfo info;
};

}  // namespace weir
