#include "sandbox/shares/share_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"

namespace weir::sandbox {
namespace {

constexpr mode_t kModeBits = 01777;

Result<sys::OwnedFd> reopen(const sys::OwnedFd& path, int flags, const std::string& name) {
  // "." works on a folder that was opened with O_PATH; a file needs its name in /proc.
  const std::string own = "/proc/self/fd/" + std::to_string(path.get());
  return sys::checked_fd(::open(own.c_str(), flags | O_CLOEXEC | O_NOCTTY), "cannot copy " + name);
}

class Copy {
 public:
  Result<> any(const sys::OwnedFd& from, const sys::OwnedFd& to) {
    struct stat status{};
    if (::fstat(from.get(), &status) != 0) return sys::errno_error("cannot look at the share");
    const bool is_folder = S_ISDIR(status.st_mode);
    if (!is_folder && !S_ISREG(status.st_mode)) return fail("cannot copy what is neither a file nor a folder");
    WEIR_TRY(sys::OwnedFd source, reopen(from, O_RDONLY, "the share"));
    WEIR_TRY(const sys::OwnedFd target, reopen(to, is_folder ? O_RDONLY | O_DIRECTORY : O_WRONLY, "the share"));
    if (is_folder) return folder(std::move(source), target, status, "", 0);
    return file(source, target, status, "the share");
  }

 private:
  Result<> folder(sys::OwnedFd from, const sys::OwnedFd& to, const struct stat& status, const std::string& path,
                  int depth) {
    if (depth > kMaxCopiedDepth) return fail("cannot copy " + path + ": folders are nested too deeply");
    const int number = from.get();
    const sys::Folder entries = sys::folder_of(std::move(from));
    if (entries == nullptr) return sys::errno_error("cannot list " + path);
    while (const dirent* next = sys::next_entry(entries)) {
      const std::string name = next->d_name;
      WEIR_CHECK_OK(entry(number, to, name, path.empty() ? name : path + "/" + name, depth));
    }
    if (errno != 0) return sys::errno_error("cannot list " + path);
    return finish(to, status, path);
  }

  Result<> entry(int from, const sys::OwnedFd& to, const std::string& name, const std::string& path, int depth) {
    if (++entries_ > kMaxCopiedEntries)
      return too_large("more than " + std::to_string(kMaxCopiedEntries) + " files and folders");
    struct stat status{};
    if (::fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return sys::errno_error("cannot copy " + path);
    if (S_ISLNK(status.st_mode)) return link(from, to, name, path);
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return {};
    const bool is_folder = S_ISDIR(status.st_mode);
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (is_folder ? O_DIRECTORY : 0);
    WEIR_TRY(sys::OwnedFd source, sys::checked_fd(::openat(from, name.c_str(), flags), "cannot copy " + path));
    if (is_folder) {
      if (::mkdirat(to.get(), name.c_str(), 0700) != 0) return sys::errno_error("cannot copy " + path);
      WEIR_TRY(const sys::OwnedFd target,
               sys::checked_fd(::openat(to.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                               "cannot copy " + path));
      return folder(std::move(source), target, status, path, depth + 1);
    }
    WEIR_TRY(const sys::OwnedFd target,
             sys::checked_fd(::openat(to.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
                             "cannot copy " + path));
    return file(source, target, status, path);
  }

  Result<> file(const sys::OwnedFd& from, const sys::OwnedFd& to, const struct stat& status, const std::string& path) {
    std::array<char, 64 * 1024> buffer;
    while (true) {
      const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
      if (got < 0) return sys::errno_error("cannot read " + path);
      if (got == 0) return finish(to, status, path);
      bytes_ += static_cast<std::uint64_t>(got);
      if (bytes_ > kMaxCopiedBytes) return too_large("more than " + std::to_string(kMaxCopiedBytes >> 20) + " MiB");
      // A tmpfs takes a write whole or reports that it is full.
      if (::write(to.get(), buffer.data(), static_cast<std::size_t>(got)) != got)
        return sys::errno_error("cannot copy " + path);
    }
  }

  static Result<> link(int from, const sys::OwnedFd& to, const std::string& name, const std::string& path) {
    const auto target = sys::link_target(from, name);
    if (!target || ::symlinkat(target->c_str(), to.get(), name.c_str()) != 0)
      return sys::errno_error("cannot copy the link " + path);
    return {};
  }

  static Result<> finish(const sys::OwnedFd& to, const struct stat& status, const std::string& path) {
    const std::array<timespec, 2> times = {status.st_atim, status.st_mtim};
    if (::fchmod(to.get(), status.st_mode & kModeBits) != 0 || ::futimens(to.get(), times.data()) != 0)
      return sys::errno_error("cannot copy mode and times of " + path);
    return {};
  }

  static std::unexpected<Error> too_large(const std::string& what) {
    return std::unexpected(Error("cannot copy the share: " + what).with_remedy("use :overlay, which copies nothing"));
  }

  std::uint64_t bytes_ = 0;
  std::uint64_t entries_ = 0;
};

}  // namespace

Result<> copy_tree(const sys::OwnedFd& from, const sys::OwnedFd& to) {
  return Copy().any(from, to);
}

}  // namespace weir::sandbox
