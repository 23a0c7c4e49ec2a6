// What stands in for protected paths that do not exist yet.
//
// A mount needs something to be mounted on, and nothing else in the kernel can forbid one name in a folder that is
// writable. So for `.envrc` in a shared folder without one, an empty file is made on the host for the time the sandbox
// lives, and mounted read-only inside. It is removed afterwards if it is still the same empty file. A supervisor that
// is killed leaves it: an empty file or folder, which the next sandbox in that folder treats as any existing one.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

class Placeholders {
 public:
  Placeholders() = default;
  Placeholders(Placeholders&&) noexcept = default;
  Placeholders& operator=(Placeholders&& other) noexcept;
  ~Placeholders() { remove(); }

  // Makes the first missing component of `path` below `folder`: an empty folder if it stands for a longer path, or if
  // its last component is one of the folders we know, else an empty file. Nothing is made when all of it exists, or
  // when the caller may not write there (then the sandbox may not either). Returns the part of `path` to protect: it
  // exists now, unless it cannot be made by anybody inside. A link in the path is an error: it could lead past the
  // protection.
  Result<std::string> make(const sys::OwnedFd& folder, const std::string& path);

  // Removes them, if they are still what was made. Idempotent.
  void remove();

 private:
  struct Made {
    sys::OwnedFd parent;
    std::string name;
    ino_t inode = 0;
    bool is_folder = false;
  };
  std::vector<Made> made_;
};

}  // namespace weir::sandbox
