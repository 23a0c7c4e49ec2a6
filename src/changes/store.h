// The folder in which changes are kept: for each run ID.json (the manifest, put in place last) and ID.data (contents).
#pragma once

#include <cstddef>
#include <ctime>
#include <string>
#include <vector>

#include "base/error.h"
#include "changes/manifest.h"
#include "sys/owned_fd.h"

namespace weir::changes {

// Of the newest runs, and no longer than that.
inline constexpr std::size_t kMaxKeptRuns = 16;
inline constexpr std::time_t kMaxKeptSeconds = 30 * 24 * 3600;

struct Places {
  Places(const std::string& folder, const std::string& sandbox)
      : manifest(folder + "/" + sandbox + ".json"), contents(folder + "/" + sandbox + ".data") {}
  std::string manifest;
  std::string contents;
};

// Removes what is too old or too much, and contents without a manifest that nobody is writing.
void sweep_store(const std::string& folder, std::time_t now);

struct Kept {
  Manifest manifest;
  sys::OwnedFd contents;
};
// What was kept of a run. An error where there is nothing, where it was not written by this user, or is damaged.
Result<Kept> open_kept(const std::string& folder, const std::string& sandbox);

// The id of the last run that was called in `called_in`, or shared that folder. An error where there is none.
Result<std::string> last_kept(const std::string& folder, const std::string& called_in);

Result<> discard_kept(const std::string& folder, const std::string& sandbox);

// Marks contents as in use: nobody sweeps them. The mark dies with the descriptor. False: somebody else has it.
bool hold(const sys::OwnedFd& contents);

}  // namespace weir::changes
