// Where a user's weir keeps what outlives a command.
#pragma once

#include <string>

#include "base/error.h"

namespace weir::session {

// $XDG_STATE_HOME/weir, else ~/.local/state/weir. Nothing is made.
Result<std::string> state_folder();

}  // namespace weir::session
