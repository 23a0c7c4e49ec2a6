// What was written into overlays, taken out of them when the run has ended (--keep-changes).
//
// It is kept as data and not as files: names, modes and links are lines of a text, contents lie one behind the other in
// one file that nobody executes, follows or looks into by accident. Only regular files are opened, below the layer and
// through no link, and their bytes go from file to file in the kernel.
#pragma once

#include <ctime>
#include <string>

#include "base/error.h"
#include "changes/manifest.h"
#include "sys/owned_fd.h"
#include "sys/pending_file.h"

namespace weir::changes {

// Contents of one run together, holes included.
inline constexpr std::uint64_t kMaxKeptBytes = std::uint64_t{2} << 30;

class Keeper {
 public:
  // Before the run: finds out that the changes can be kept in `folder`, which is made (0700). `about`: what is known of
  // the run. Something that another sandbox of that id has kept is an error.
  static Result<Keeper> prepare(const std::string& folder, Manifest about);

  // The layer over the shared folder `source`. Everything inside has ended. `since`: CLOCK_REALTIME before the command
  // began; what was changed below after it is a conflict.
  Result<> add(const sys::OwnedFd& layer, const std::string& source, const timespec& since);

  // Puts it in place, whole, and sweeps what is too old. What is kept; once. Without a layer nothing is.
  Result<Manifest> finish();

 private:
  Keeper(std::string folder, Manifest manifest, sys::PendingFile file, sys::OwnedFd data)
      : folder_(std::move(folder)), manifest_(std::move(manifest)), file_(std::move(file)), data_(std::move(data)) {}
  Result<> keep(const sys::OwnedFd& layer, const sys::OwnedFd& below, const timespec& since, KeptEntry& entry);
  Result<> keep_content(const sys::OwnedFd& layer, KeptEntry& entry);

  std::string folder_;
  Manifest manifest_;
  sys::PendingFile file_;
  sys::OwnedFd data_;  // locked while it is written
  std::uint64_t size_ = 0;
};

}  // namespace weir::changes
