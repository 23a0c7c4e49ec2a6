// Where a user's weir keeps what outlives a command: records, and the sockets of sandboxes that can be sealed.
#pragma once

#include <string>

#include "base/error.h"
#include "session/state_folder.h"

namespace weir::supervisor {

using session::state_folder;

// $XDG_STATE_HOME/weir/events, or $HOME/.local/state/weir/events.
Result<std::string> default_events_folder();
// Where --keep-changes keeps what was written into overlays: beside that one.
Result<std::string> changes_folder();

// The socket of a live sandbox that `weir seal` speaks to: below state_folder().
Result<std::string> seal_socket_of(const std::string& id);
// The same, its folder made.
Result<std::string> prepare_seal_socket(const std::string& id);

}  // namespace weir::supervisor
