// From errno to Error, with the operands in the text.
#pragma once

#include <cerrno>
#include <string>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// "Permission denied" and the like; never allocates from a locale.
std::string errno_text(int code);

// Out of descriptors or memory: what was asked for may be there again in a moment.
bool is_exhaustion(int code);

// An Error made of `what` and the current errno.
std::unexpected<Error> errno_error(std::string what, int code = errno);

// For calls that return -1 on failure: the value, or an Error that says `what`.
inline Result<int> checked(int result, const char* what) {
  if (result < 0) return errno_error(what);
  return result;
}
inline Result<OwnedFd> checked_fd(int result, const std::string& what) {
  if (result < 0) return errno_error(what);
  return OwnedFd(result);
}

}  // namespace weir::sys
