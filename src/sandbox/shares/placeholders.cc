#include "sandbox/shares/placeholders.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "sys/errno.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

constexpr mode_t kMode = 0555;
constexpr mode_t kFileMode = 0444;

// Where git refuses to work if a folder stands there, a file stands in that says what its absence says.
struct FilePlaceholder {
  std::string_view path;
  std::string_view content;
};
constexpr std::array kFiles = {FilePlaceholder{".git/commondir", ".\n"}, FilePlaceholder{".git/config.worktree", "#\n"},
                               FilePlaceholder{"commondir", ".\n"}, FilePlaceholder{"config.worktree", "#\n"}};
// Another supervisor may remove the placeholder between our mkdir and our lock, and so on; more often is a fault.
constexpr int kAttempts = 8;

bool is_empty(const sys::OwnedFd& folder) {
  alignas(dirent64) std::array<char, 1024> buffer;
  std::size_t entries = 0;
  while (true) {
    const ssize_t got = ::getdents64(folder.get(), buffer.data(), buffer.size());
    if (got <= 0) return got == 0 && entries <= 2;  // "." and ".."
    for (ssize_t at = 0; at < got; ++entries) at += reinterpret_cast<const dirent64*>(buffer.data() + at)->d_reclen;
  }
}

bool is_same(const sys::OwnedFd& parent, const std::string& name, const struct stat& known) {
  struct stat now{};
  if (::fstatat(parent.get(), name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) return false;
  return now.st_dev == known.st_dev && now.st_ino == known.st_ino;
}

// Empty for what a folder stands in for.
std::string_view file_content(std::string_view path) {
  for (const FilePlaceholder& file : kFiles) {
    if (file.path == path) return file.content;
  }
  return {};
}

std::string content_of(const sys::OwnedFd& file) {
  std::array<char, 16> bytes{};  // longer than any of kFiles
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  return got < 0 ? std::string("unreadable") : std::string(bytes.data(), static_cast<std::size_t>(got));
}

// What is made is made with its final mode: changing it afterwards by name could hit what was put there meanwhile.
class NoUmask {
 public:
  NoUmask() : before_(::umask(0)) {}
  ~NoUmask() { ::umask(before_); }
  NoUmask(const NoUmask&) = delete;
  NoUmask& operator=(const NoUmask&) = delete;

 private:
  mode_t before_;
};

// False, with errno: it was not made. An unfinished file is made again by the next that finds it.
bool make_one(const sys::OwnedFd& parent, const std::string& name, std::string_view content) {
  const NoUmask exact;
  if (content.empty()) return ::mkdirat(parent.get(), name.c_str(), kMode) == 0;
  const sys::OwnedFd file(
      ::openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!file.valid()) return false;
  if (::write(file.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size())) return true;
  const int code = errno;
  ::unlinkat(parent.get(), name.c_str(), 0);
  errno = code;
  return false;
}

// Nothing inside has more rights than the caller; but what the caller owns, the sandbox's user may open up.
bool nobody_inside_may_write(const sys::OwnedFd& parent, int code) {
  if (code == EROFS) return true;
  struct stat status{};
  if (code != EACCES || ::fstat(parent.get(), &status) != 0) return false;
  return status.st_uid != ::geteuid();
}

}  // namespace

Result<bool> Placeholders::adopt(const sys::OwnedFd& parent, const std::string& name, std::string_view content) {
  const int kind = content.empty() ? O_DIRECTORY : 0;
  sys::OwnedFd found = sys::open_resolved(parent.get(), name, O_RDONLY | O_NONBLOCK | kind, sys::kBeneath);
  struct stat status{};
  if (!found.valid() || ::fstat(found.get(), &status) != 0) return false;
  if (content.empty()) {
    if ((status.st_mode & 07777) != kMode || !is_empty(found)) return false;
  } else {
    if (status.st_mode != (S_IFREG | kFileMode)) return false;
    const std::string there = content_of(found);
    // Its maker has been killed, or will find it gone and make it again.
    if (there.empty() && is_same(parent, name, status)) ::unlinkat(parent.get(), name.c_str(), 0);
    if (there != content) return false;
  }
  if (::flock(found.get(), LOCK_SH) != 0) return sys::errno_error("cannot lock " + name);
  // The last user of it may have removed it while we waited.
  if (!is_same(parent, name, status)) return false;
  WEIR_TRY(sys::OwnedFd folder, sys::checked_fd(::fcntl(parent.get(), F_DUPFD_CLOEXEC, 0), "cannot protect " + name));
  made_.push_back({.parent = std::move(folder), .name = name, .content = content, .locked = std::move(found)});
  return true;
}

Result<std::string> Placeholders::make(const sys::OwnedFd& folder, const std::string& path) {
  sys::OwnedFd parent = sys::open_resolved(folder.get(), "", O_PATH, sys::kBeneath);
  std::string done;
  std::string_view rest = path;
  for (int attempts = 0; parent.valid() && attempts < kAttempts;) {
    const std::string name(rest.substr(0, rest.find('/')));
    std::string here = done.empty() ? name : done + "/" + name;
    const bool last = name.size() == rest.size();
    const std::string_view content = file_content(here);
    WEIR_TRY(const bool ours, adopt(parent, name, content));
    if (ours) return here;
    sys::OwnedFd found = sys::open_resolved(parent.get(), name, O_PATH, sys::kBeneath);
    if (found.valid()) {
      struct stat status{};
      // A file in the way (a worktree's .git) is what decides about everything behind it.
      if (last || ::fstat(found.get(), &status) != 0 || !S_ISDIR(status.st_mode)) return here;
      parent = std::move(found);
      done = here;
      rest.remove_prefix(name.size() + 1);
      continue;
    }
    if (errno == ELOOP) {
      return std::unexpected(Error("cannot protect " + path + " in the shared folder: " + here + " is a link")
                                 .with_remedy("replace the link by what it leads to, or share with --here=rw-all"));
    }
    if (errno != ENOENT) break;
    ++attempts;
    if (make_one(parent, name, content) || errno == EEXIST) continue;
    if (nobody_inside_may_write(parent, errno)) return path;
    break;
  }
  return sys::errno_error("cannot protect " + path + " in the shared folder");
}

void Placeholders::remove() {
  for (Made& made : made_) {
    struct stat status{};
    // Whoever else holds the lock removes it later; a folder with something in it refuses to go by itself, and a file
    // in which something else stands by now is somebody's.
    if (::flock(made.locked.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(made.locked.get(), &status) != 0) continue;
    const bool is_file = !made.content.empty();
    if (is_file && content_of(made.locked) != made.content) continue;
    if (is_same(made.parent, made.name, status))
      ::unlinkat(made.parent.get(), made.name.c_str(), is_file ? 0 : AT_REMOVEDIR);
  }
  made_.clear();
}

}  // namespace weir::sandbox
