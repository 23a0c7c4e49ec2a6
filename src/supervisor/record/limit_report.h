// What is said of limits that were reached.
#pragma once

#include <string>

#include "audit/event.h"
#include "sandbox/limits/limiter.h"

namespace weir::supervisor {

audit::LimitHit report_of(const sandbox::LimitHit& hit, const sandbox::Limits& limits);

// "pids limit 256 was reached 3 times", "disk limit 1G was reached", "killed: memory limit 512M".
std::string text_of(const audit::LimitHit& hit);

}  // namespace weir::supervisor
