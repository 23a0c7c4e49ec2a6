// The daemon, from its options to its end.
#pragma once

#include <span>
#include <string>

#include "base/error.h"

namespace weir::daemon {

// Serves until SIGTERM or SIGINT; sessions go on. Errors: what kept it from starting.
Result<> serve(std::span<const std::string> words);

}  // namespace weir::daemon
