// What this version of weir holds of what a policy may say: the rest is refused, for whoever writes it would rely on
// it.
#pragma once

#include <string>

#include "base/error.h"
#include "policy/compiled/source.h"

namespace weir::policy {

// "WHAT: not available in this version".
std::unexpected<Error> not_yet(const std::string& what, std::string remedy);

// The mode, and limits that are set: their value, or that they were written at all.
Result<> check_enforced(Mode mode, const ImageSource& source);

}  // namespace weir::policy
