#include "supervisor/sandbox_id.h"

#include <sys/random.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "sys/errno.h"

namespace weir::supervisor {

Result<std::string> new_sandbox_id() {
  std::array<std::uint8_t, 4> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return sys::errno_error("cannot make a random id");
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string id = "w-";
  for (const std::uint8_t byte : bytes) {
    id += kHex[byte >> 4];
    id += kHex[byte & 15];
  }
  return id;
}

}  // namespace weir::supervisor
