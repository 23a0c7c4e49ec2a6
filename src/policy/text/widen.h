// A run may only narrow its session (policy.md section 3).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/compiled/image.h"
#include "policy/compiled/source.h"

namespace weir::policy {

// The error "cannot_widen: <why>".
std::unexpected<Error> cannot_widen(const std::string& why);

// `outer`: floor and session, or what a live sandbox has; `image`: what was built of it. An allowing target of `run`
// that the session refuses entirely is cannot_widen, as is a wider mode; one that the session allows in part becomes a
// warning. Where only the live addresses of the machine could tell, nothing is said: every layer is asked again for
// every connection.
Result<> check_narrower(const Image& image, const ImageSource& outer, const LayerSource& run,
                        std::vector<std::string>& warnings);

}  // namespace weir::policy
