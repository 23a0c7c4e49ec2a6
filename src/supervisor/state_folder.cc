#include "supervisor/state_folder.h"

#include "sys/files.h"

namespace weir::supervisor {

namespace {
constexpr const char* kLive = "/live";
}  // namespace

Result<std::string> default_events_folder() {
  auto folder = state_folder();
  if (folder) return *folder + "/events";
  return std::unexpected(std::move(folder)
                             .error()
                             .context("there is no folder for events")
                             .with_remedy("name a file with --events FILE, or --events none"));
}

Result<std::string> changes_folder() {
  if (const auto folder = state_folder()) return *folder + "/changes";
  return std::unexpected(
      Error("there is no folder for changes: neither XDG_STATE_HOME nor HOME is set").with_remedy("set HOME"));
}

Result<std::string> seal_socket_of(const std::string& id) {
  WEIR_TRY(const std::string folder, state_folder());
  return folder + kLive + "/" + id;
}

Result<std::string> prepare_seal_socket(const std::string& id) {
  auto folder = state_folder();
  if (!folder)
    return std::unexpected(std::move(folder).error().context("there is no folder for the socket of weir seal"));
  WEIR_CHECK_OK(sys::make_folders(*folder + kLive));
  return *folder + kLive + "/" + id;
}

}  // namespace weir::supervisor
