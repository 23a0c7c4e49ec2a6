// What sessions and their processes look like to people and to programs.
#pragma once

#include <span>
#include <string>

#include "supervisor/run_options.h"
#include "wire/session_reply.h"

namespace weir::cli {

std::string sessions_text(std::span<const wire::SessionInfo> sessions, std::int64_t now);
std::string sessions_json(std::span<const wire::SessionInfo> sessions);
std::string services_text(std::span<const wire::SessionInfo> services);
std::string session_text(const wire::SessionInfo& session);
std::string session_json(const wire::SessionInfo& session);
std::string processes_text(const wire::ProcessList& list);
std::string processes_json(const wire::ProcessList& list);

// The lines for standard error when a process has ended: that it could not be executed, ran too long, met limits, was
// refused destinations. Quiet: only what ended it.
std::string ending_text(const wire::ExitedProcess& exited, const std::string& id, supervisor::Verbosity says);

// Seconds since 1970; 0 where the text is no time as sessions write them (RFC 3339, in UTC).
std::int64_t seconds_of(const std::string& time);

}  // namespace weir::cli
