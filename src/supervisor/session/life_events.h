// The first and the last line of a record: of a command's run and of a session alike; and
// what is between two halves of a session that sleeps.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "audit/event.h"
#include "supervisor/live_sandbox.h"
#include "supervisor/network/published_ports.h"
#include "supervisor/run_options.h"

namespace weir::supervisor {

audit::Event start_event(const RunOptions& options, const std::vector<PublishedPort>& ports);
audit::Event exit_event(const Ending& ending);
// Of a session. `why_not`: it could not be woken, and sleeps on; it could not fall asleep, and stays awake. `mode`: the
// one in force.
audit::Event asleep_event(const std::string& why_not = {});
audit::Event awake_event(std::string_view mode, const std::vector<PublishedPort>& ports);
audit::Event stays_awake_event(std::string_view mode, const std::string& why_not);

}  // namespace weir::supervisor
