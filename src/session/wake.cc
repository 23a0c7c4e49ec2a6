#include "session/wake.h"

#include "session/starter.h"

namespace weir::session {

wire::Answer<> wake(const Registry& registry, const std::string& id) {
  const auto woken = run_starter({registry.weir(), "session", "wake", "--output=json", id});
  if (!woken) return std::unexpected(woken.error());
  return {};
}

}  // namespace weir::session
