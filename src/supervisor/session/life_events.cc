#include "supervisor/session/life_events.h"

namespace weir::supervisor {

audit::Event start_event(const RunOptions& options, const std::vector<PublishedPort>& ports) {
  audit::Event event;
  event.type = audit::EventType::sandbox_start;
  event.mode = options.policy_mode;
  // The program, not its arguments: those may hold secrets. What lives on has no command of its own.
  event.command = options.spec.lives_on ? "weir session" : options.spec.argv.front();
  event.floor = options.floor_hash;
  event.notices = options.start_notices;
  for (const PublishedPort& port : ports) event.published.push_back(policy::publish_text(port.publish));
  return event;
}

audit::Event exit_event(const Ending& ending) {
  audit::Event event;
  event.type = audit::EventType::sandbox_exit;
  event.exit_code = ending.exit_code;
  if (ending.error) event.error = ending.error->what();
  event.limits = ending.limits;
  return event;
}

audit::Event asleep_event(const std::string& why_not) {
  audit::Event event;
  event.type = audit::EventType::sandbox_asleep;
  event.error = why_not;
  return event;
}

audit::Event awake_event(std::string_view mode, const std::vector<PublishedPort>& ports) {
  audit::Event event;
  event.type = audit::EventType::sandbox_awake;
  event.mode = mode;
  for (const PublishedPort& port : ports) event.published.push_back(policy::publish_text(port.publish));
  return event;
}

audit::Event stays_awake_event(std::string_view mode, const std::string& why_not) {
  audit::Event event = awake_event(mode, {});
  event.error = why_not;
  return event;
}

}  // namespace weir::supervisor
