#include "sys/pending_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "sys/errno.h"
#include "sys/files.h"

namespace weir::sys {

namespace {

constexpr mode_t kPrivate = 0600;

Result<std::string> temporary_name(const std::string& name) {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) return errno_error("cannot make a random name");
  constexpr std::size_t kKept = 200;  // a name has at most 255 bytes
  return "." + name.substr(0, kKept) + "." + std::to_string(random);
}

Result<OwnedFd> make_temporary(const OwnedFd& folder, const std::string& name, const std::string& path) {
  return checked_fd(
      ::openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kPrivate),
      "cannot write " + path);
}

// Asked by doing it; where the file system has no files without a name, with one.
Result<> check_writable(const OwnedFd& folder, const std::string& name, const std::string& path) {
  const OwnedFd probe(::openat(folder.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, kPrivate));
  if (probe.valid()) return {};
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return errno_error("cannot write " + path);
  WEIR_TRY(const std::string temporary, temporary_name(name));
  WEIR_CHECK_OK(make_temporary(folder, temporary, path));
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  return {};
}

}  // namespace

Result<PendingFile> PendingFile::prepare(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string folder_path = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  if (name.empty() || name == "." || name == "..") return fail(path + ": not the name of a file");
  WEIR_TRY(OwnedFd folder,
           checked_fd(::open(folder_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), "cannot write " + path));
  WEIR_CHECK_OK(check_writable(folder, name, path));
  struct stat status{};
  if (::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(status.st_mode))
    return fail(path + ": is there already, and is no regular file");
  return PendingFile(std::move(folder), std::move(name), path);
}

Result<> PendingFile::replace(const std::string& temporary) const {
  if (::renameat(folder_.get(), temporary.c_str(), folder_.get(), name_.c_str()) == 0) return {};
  const auto failed = errno_error("cannot write " + path_);
  ::unlinkat(folder_.get(), temporary.c_str(), 0);
  return failed;
}

Result<> PendingFile::write(Bytes bytes) const {
  const auto fill = [&](const OwnedFd& fd) -> Result<> {
    WEIR_CHECK_OK(write_whole(fd, path_, bytes));
    if (::fsync(fd.get()) != 0) return errno_error("cannot write " + path_);
    return {};
  };
  return write(fill, kPrivate);
}

Result<> PendingFile::write(const std::function<Result<>(const OwnedFd&)>& fill, mode_t mode) const {
  WEIR_TRY(const std::string temporary, temporary_name(name_));
  OwnedFd fd(::openat(folder_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, kPrivate));
  const bool nameless = fd.valid();
  if (!nameless) {
    WEIR_TRY(fd, make_temporary(folder_, temporary, path_));
  }
  Result<> done = fill(fd);
  if (done && mode != kPrivate && ::fchmod(fd.get(), mode) != 0) done = errno_error("cannot write " + path_);
  // By its descriptor alone only who has CAP_DAC_READ_SEARCH may.
  const std::string opened = "/proc/self/fd/" + std::to_string(fd.get());
  if (done && nameless && ::linkat(AT_FDCWD, opened.c_str(), folder_.get(), temporary.c_str(), AT_SYMLINK_FOLLOW) != 0)
    done = errno_error("cannot write " + path_);
  if (done) return replace(temporary);
  if (!nameless) ::unlinkat(folder_.get(), temporary.c_str(), 0);
  return done;
}

}  // namespace weir::sys
