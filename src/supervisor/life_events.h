// The first and the last line of a record: of a command's run and of a session alike.
#pragma once

#include <vector>

#include "audit/event.h"
#include "supervisor/live_sandbox.h"
#include "supervisor/published_ports.h"
#include "supervisor/run_options.h"

namespace weir::supervisor {

audit::Event start_event(const RunOptions& options, const std::vector<PublishedPort>& ports);
audit::Event exit_event(const Ending& ending);

}  // namespace weir::supervisor
