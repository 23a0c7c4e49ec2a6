// The upstream proxies of a policy, with the credentials that the policy only says the place of.
#pragma once

#include <span>
#include <vector>

#include "base/error.h"
#include "dial/egress_dialer.h"

namespace weir::supervisor {

// Reads the credentials. Call it after the sandbox's first process was made, which has a copy of this one's memory. An
// error names the place and never what is there.
Result<std::vector<dial::EgressRoute>> egress_routes(std::span<const policy::EgressProxy> proxies);

}  // namespace weir::supervisor
