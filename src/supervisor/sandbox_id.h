// What a sandbox is called in records and on disk.
#pragma once

#include <string>

#include "base/error.h"

namespace weir::supervisor {

// "w-3f9a1c27": unique as far as 32 random bits go; whoever makes something under that name on disk makes it
// exclusively, and draws again when it is there.
Result<std::string> new_sandbox_id();

}  // namespace weir::supervisor
