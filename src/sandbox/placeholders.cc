#include "sandbox/placeholders.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "sys/errno.h"

namespace weir::sandbox {
namespace {

// The protected names that are folders; all others are files.
constexpr std::array<std::string_view, 9> kFolders = {".git",   ".vscode",       ".idea",   ".cursor", ".claude",
                                                      ".husky", ".devcontainer", ".direnv", "hooks"};

sys::OwnedFd open_below(int folder, const std::string& name) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return sys::OwnedFd(static_cast<int>(::syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how)));
}

// Whoever may not write here is spared the trouble: nothing inside can write either, for it has no more rights.
bool nobody_may_write(int code) {
  return code == EACCES || code == EPERM || code == EROFS;
}

}  // namespace

Placeholders& Placeholders::operator=(Placeholders&& other) noexcept {
  if (this != &other) {
    remove();
    made_ = std::move(other.made_);
  }
  return *this;
}

Result<std::string> Placeholders::make(const sys::OwnedFd& folder, const std::string& path) {
  sys::OwnedFd parent = open_below(folder.get(), ".");
  std::string done;
  std::string_view rest = path;
  while (parent.valid()) {
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    done += done.empty() ? name : "/" + name;
    sys::OwnedFd found = open_below(parent.get(), name);
    if (found.valid() && rest.empty()) return done;
    if (found.valid()) {
      parent = std::move(found);
      continue;
    }
    if (errno == ELOOP) {
      return std::unexpected(Error("cannot protect " + path + " in the shared folder: " + done + " is a link")
                                 .with_remedy("replace the link by what it leads to, or share with --here=rw-all"));
    }
    if (errno != ENOENT) break;
    const bool is_folder = !rest.empty() || std::ranges::find(kFolders, name) != kFolders.end();
    const int result = is_folder ? ::mkdirat(parent.get(), name.c_str(), 0755)
                                 : ::openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (result < 0 && nobody_may_write(errno)) return done;
    if (result < 0) break;
    const sys::OwnedFd file(is_folder ? -1 : result);
    struct stat status{};
    if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) break;
    made_.push_back({.parent = std::move(parent), .name = name, .inode = status.st_ino, .is_folder = is_folder});
    return done;
  }
  return sys::errno_error("cannot protect " + path + " in the shared folder");
}

void Placeholders::remove() {
  for (const Made& made : made_) {
    struct stat now{};
    if (::fstatat(made.parent.get(), made.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (now.st_ino != made.inode || S_ISDIR(now.st_mode) != made.is_folder) continue;
    // Somebody outside may have begun to use it. A folder with content refuses to go by itself.
    if (!made.is_folder && now.st_size != 0) continue;
    ::unlinkat(made.parent.get(), made.name.c_str(), made.is_folder ? AT_REMOVEDIR : 0);
  }
  made_.clear();
}

}  // namespace weir::sandbox
