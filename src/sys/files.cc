#include "sys/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/errno.h"

namespace weir::sys {
namespace {

// Most files read here are small, and every page that is zeroed for nothing costs a start half a microsecond; a large
// file doubles the room with each read.
constexpr std::size_t kFirstChunk = 4096;

// Why somebody else than root could have written it; empty when nobody could.
std::string foreign_hand(const struct stat& status) {
  if (status.st_uid != 0) return "not owned by root";
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "writable by others than root";
  return "";
}

std::unexpected<Error> untrusted(const std::string& path, const std::string& why) {
  return std::unexpected(
      Error(path + ": " + why).with_remedy("sudo chown root:root " + path + " && sudo chmod go-w " + path));
}

}  // namespace

Result<> write_whole(const OwnedFd& fd, const std::string& path, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_error("cannot write " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::string> read_open_file(const OwnedFd& fd, const std::string& path, std::size_t max_bytes) {
  std::string text;
  for (;;) {
    const std::size_t before = text.size();
    // One byte more than allowed tells a file that is too large from one that just fits.
    const std::size_t wanted = std::min(std::max(kFirstChunk, before), max_bytes + 1 - before);
    text.resize(before + wanted);
    const ssize_t got = ::read(fd.get(), text.data() + before, wanted);
    if (got < 0 && errno == EINTR) {
      text.resize(before);
      continue;
    }
    if (got < 0) return errno_error("cannot read " + path);
    text.resize(before + static_cast<std::size_t>(got));
    if (got == 0) return text;
    if (text.size() > max_bytes) return fail(path + ": larger than " + std::to_string(max_bytes) + " bytes");
  }
}

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  WEIR_TRY(const OwnedFd fd, checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY), "cannot read " + path));
  return read_open_file(fd, path, max_bytes);
}

Result<> replace_file(const std::string& path, Bytes bytes) {
  std::string temporary = path + ".XXXXXX";
  WEIR_TRY(const OwnedFd fd, checked_fd(::mkostemp(temporary.data(), O_CLOEXEC), "cannot write " + path));
  constexpr mode_t kReadable = 0644;
  Result<> written = write_whole(fd, path, bytes);
  if (written && ::fchmod(fd.get(), kReadable) != 0) written = errno_error("cannot write " + path);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = errno_error("cannot write " + path);
  if (!written) ::unlink(temporary.c_str());
  return written;
}

Result<> make_folders(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return errno_error("cannot make the folder " + part);
    if (slash == std::string::npos) return {};
  }
}

Result<std::optional<std::string>> read_operator_file(const std::string& path, std::size_t max_bytes) {
  const std::string folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  // The folder is held open and the file opened below it: what was checked is what is read.
  const OwnedFd parent(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid() && errno == ENOENT) return std::nullopt;
  if (!parent.valid()) return errno_error("cannot open " + folder);
  const std::string name = path.substr(path.rfind('/') + 1);
  // O_NONBLOCK: a FIFO in its place must not hang the start; it is refused below.
  const OwnedFd fd(::openat(parent.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid() && errno == ENOENT) return std::nullopt;
  if (!fd.valid()) return errno_error("cannot read " + path);
  struct stat status{};
  if (::fstat(parent.get(), &status) != 0) return errno_error("cannot look at " + folder);
  if (const std::string why = foreign_hand(status); !why.empty()) return untrusted(folder, why);
  if (::fstat(fd.get(), &status) != 0) return errno_error("cannot look at " + path);
  if (!S_ISREG(status.st_mode)) return fail(path + ": not a regular file");
  if (const std::string why = foreign_hand(status); !why.empty()) return untrusted(path, why);
  WEIR_TRY(std::string text, read_open_file(fd, path, max_bytes));
  return std::optional(std::move(text));
}

std::optional<std::string> link_target(int folder, const std::string& name) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  if (size < 0) return std::nullopt;
  return std::string(target.data(), static_cast<std::size_t>(size));
}

}  // namespace weir::sys
