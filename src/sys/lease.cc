#include "sys/lease.h"

#include <fcntl.h>

#include <charconv>
#include <string>

#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sys {

Result<> take_lease(int file) {
  if (::fcntl(file, F_SETLEASE, F_WRLCK) != 0) return errno_error("cannot take a lease");
  return {};
}

bool is_lease_wanted(int file) {
  return ::fcntl(file, F_GETLEASE) != F_WRLCK;
}

void give_back_lease(int file) {
  ::fcntl(file, F_SETLEASE, F_UNLCK);
}

Result<std::optional<std::chrono::seconds>> lease_patience() {
  constexpr const char* kSetting = "/proc/sys/fs/lease-break-time";
  WEIR_TRY(const std::string text, read_file(kSetting, 64));
  int seconds = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), seconds).ec != std::errc())
    return fail(std::string(kSetting) + " holds no number");
  if (seconds <= 0) return std::nullopt;
  return std::chrono::seconds(seconds);
}

}  // namespace weir::sys
