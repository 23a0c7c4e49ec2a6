#include "image/store_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"

namespace weir::image {

Result<std::string> store_folder(std::string_view what, std::string_view data_home, std::string_view home) {
  const std::string below = "weir/" + std::string(what);
  if (::geteuid() == 0) return "/var/lib/" + below;
  if (data_home.starts_with('/')) return std::string(data_home) + "/" + below;
  if (home.starts_with('/')) return std::string(home) + "/.local/share/" + below;
  return std::unexpected(Error("there is no place for " + std::string(what) + ": neither XDG_DATA_HOME nor HOME is set")
                             .with_remedy("set HOME"));
}

Result<> prepare_store_folder(const std::string& folder) {
  WEIR_CHECK_OK(sys::make_folders(folder));
  struct stat status{};
  if (::stat(folder.c_str(), &status) != 0) return sys::errno_error("cannot look at " + folder);
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    return std::unexpected(Error(folder + " is open to others than its owner, so what is in it could be anybody's")
                               .with_remedy("chmod 700 " + folder + ", after a look at who owns it"));
  }
  return {};
}

Result<std::string> random_hex(std::size_t bytes) {
  std::vector<std::uint8_t> random(bytes);
  if (::getrandom(random.data(), bytes, 0) != static_cast<ssize_t>(bytes))
    return sys::errno_error("cannot make a random id");
  std::string text;
  for (const std::uint8_t byte : random) text += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
  return text;
}

std::string now_text() {
  const time_t now = ::time(nullptr);
  tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  return std::string(text.data(), ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc));
}

Result<sys::OwnedFd> open_folder(const std::string& path) {
  return sys::checked_fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), "cannot open " + path);
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
  const sys::Folder entries(::opendir(folder.c_str()));
  if (entries == nullptr) return sys::errno_error("cannot list " + folder);
  std::vector<std::string> names;
  while (const dirent* entry = sys::next_entry(entries)) names.emplace_back(entry->d_name);
  if (errno != 0) return sys::errno_error("cannot list " + folder);
  std::ranges::sort(names);
  return names;
}

Result<sys::OwnedFd> lock_store(const std::string& folder) {
  const std::string path = folder + "/.lock";
  WEIR_TRY(sys::OwnedFd lock, sys::checked_fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600),
                                              "cannot open " + path));
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return sys::errno_error("cannot lock " + path);
  }
  return lock;
}

bool lock_alone(const sys::OwnedFd& fd) {
  return ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
}

}  // namespace weir::image
