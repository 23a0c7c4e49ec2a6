// How records spell an errno.
#pragma once

#include <cstring>
#include <string>

namespace weir::dial {

// "ECONNREFUSED"; the number where it has no name.
inline std::string errno_name(int code) {
  const char* name = ::strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

}  // namespace weir::dial
