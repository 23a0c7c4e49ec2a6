#include "sys/id_maps.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "sys/errno.h"

namespace weir::sys {

Result<> write_id_map(pid_t process, std::string_view name, std::string_view text) {
  const std::string path =
      "/proc/" + (process == 0 ? std::string("self") : std::to_string(process)) + "/" + std::string(name);
  WEIR_TRY(const OwnedFd fd, checked_fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "cannot open " + path));
  if (::write(fd.get(), text.data(), text.size()) < 0) return errno_error("cannot write " + path);
  return {};
}

}  // namespace weir::sys
