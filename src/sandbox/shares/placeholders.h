// What stands in for protected paths that do not exist yet.
//
// A mount needs something to be mounted on, and nothing else in the kernel can forbid one name in a folder that is
// writable. So for `.envrc` in a shared folder without one, an empty read-only folder is made on the host for the time
// the sandbox lives, and mounted over itself, read-only, inside. A folder, because version control does not see an
// empty one and no program takes it for the file; for two files of git's, which must not be folders, a file that says
// nothing. It is removed afterwards. A supervisor that is killed leaves it
// behind; the next sandbox in that place recognises it (empty, mode 0555; that content, mode 0444) and removes it at
// its end. Sandboxes that share a place at the same time share its placeholders: each holds a lock, and the last one
// removes them.
//
// Not guaranteed: whoever is outside may remove a placeholder at any time, and the protection of that path with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

class Placeholders {
 public:
  Placeholders() = default;
  Placeholders(Placeholders&&) noexcept = default;
  Placeholders& operator=(Placeholders&&) = delete;
  ~Placeholders() { remove(); }

  // Makes a placeholder for the first component of `path` below `folder` that does not exist. Returns the part of
  // `path` to protect, which exists now; with two exceptions: on a read-only file system, and in a folder that belongs
  // to somebody else and may not be written, nobody inside can make it either, and all of `path` is returned. A link on
  // the way is an error: it could be replaced, and what it leads to is not protected.
  Result<std::string> make(const sys::OwnedFd& folder, const std::string& path);

  // Removes them unless somebody else needs them or has put something into them. Idempotent.
  void remove();

 private:
  struct Made {
    sys::OwnedFd parent;
    std::string name;
    std::string_view content;  // empty: a folder
    sys::OwnedFd locked;
  };
  // `name`, if it is a placeholder: locked and remembered. `content`: what the file says, empty for a folder.
  Result<bool> adopt(const sys::OwnedFd& parent, const std::string& name, std::string_view content);

  std::vector<Made> made_;
};

}  // namespace weir::sandbox
