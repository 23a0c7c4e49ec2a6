// The one place in which a sleeping session is woken (docs/decisions/0022).
#pragma once

#include <string>

#include "session/registry.h"

namespace weir::session {

// Runs `weir session wake`, and waits until the session stands. Good also where somebody else woke it meanwhile.
// Codes: not_found; gone, where its time is over; and why it cannot be woken: it sleeps on then.
wire::Answer<> wake(const Registry& registry, const std::string& id);

}  // namespace weir::session
