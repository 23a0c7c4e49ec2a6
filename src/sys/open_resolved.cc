#include "sys/open_resolved.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::sys {

OwnedFd open_resolved(int folder, const std::string& path, int flags, std::uint64_t resolve, std::uint64_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
  return OwnedFd(static_cast<int>(::syscall(SYS_openat2, folder, path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

}  // namespace weir::sys
