#include "session/state_folder.h"

#include <cstdlib>

namespace weir::session {

Result<std::string> state_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/weir";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.local/state/weir";
  return fail("neither XDG_STATE_HOME nor HOME is set");
}

}  // namespace weir::session
