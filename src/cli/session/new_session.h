// A session of one's own, for `weir session` by itself.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::cli {

// Runs `weir session create` with these options in a process of its own. Nothing: it failed, and has said why.
Result<std::optional<std::string>> create_session(const std::vector<std::string>& options);

}  // namespace weir::cli
