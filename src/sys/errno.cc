#include "sys/errno.h"

#include <cerrno>
#include <cstring>

namespace weir::sys {

bool is_exhaustion(int code) {
  return code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS;
}

std::string errno_text(int code) {
  const char* text = ::strerrordesc_np(code);
  return text != nullptr ? text : "errno " + std::to_string(code);
}

std::unexpected<Error> errno_error(std::string what, int code) {
  return std::unexpected(Error(std::move(what) + ": " + errno_text(code), code));
}

}  // namespace weir::sys
