#include "changes/fingerprint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "changes/run_outside.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::changes {
namespace {

constexpr std::uint64_t kHere = sys::kBeneath | RESOLVE_NO_XDEV;

bool is_after(const timespec& time, const timespec& since) {
  return std::pair(time.tv_sec, time.tv_nsec) > std::pair(since.tv_sec, since.tv_nsec);
}

class Look {
 public:
  Look(const timespec& since, Print& print) : since_(since), print_(print) {}

  // False: nothing is there.
  Result<bool> entry(const sys::OwnedFd& parent, const std::string& name, const std::string& path, std::size_t depth) {
    struct stat status{};
    if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      return sys::errno_error("cannot look at it");
    }
    if (depth == 0) print_.status = status;
    if (++seen_ > kMaxLookedAt) return fail("holds more than can be compared");
    const bool is_folder = S_ISDIR(status.st_mode);
    if (print_.guarded.empty() && would_be_run_outside(path, is_folder ? Stands::folder : Stands::no_folder))
      print_.guarded = path;
    print_.newer = print_.newer || is_after(status.st_ctim, since_);
    feed(status, path);
    if (S_ISLNK(status.st_mode)) return link(parent, name);
    if (is_folder) WEIR_CHECK_OK(folder(parent, name, path, depth));
    return true;
  }

  std::string digest() { return sum_.finish(); }

 private:
  void feed(const struct stat& status, const std::string& path) {
    const bool is_folder = S_ISDIR(status.st_mode);
    const std::array<std::int64_t, 8> numbers = {static_cast<std::int64_t>(status.st_mode),
                                                 static_cast<std::int64_t>(status.st_ino),
                                                 is_folder ? 0 : status.st_size,
                                                 status.st_mtim.tv_sec,
                                                 status.st_mtim.tv_nsec,
                                                 status.st_ctim.tv_sec,
                                                 status.st_ctim.tv_nsec,
                                                 static_cast<std::int64_t>(path.size())};
    for (const std::int64_t number : numbers) say(std::to_string(number) + " ");
    say(path);
  }
  void say(const std::string& text) { sum_.update(as_bytes(text)); }

  Result<bool> link(const sys::OwnedFd& parent, const std::string& name) {
    const auto target = sys::link_target(parent.get(), name);
    if (!target) return sys::errno_error("cannot read the link");
    say(*target);
    return true;
  }

  Result<> folder(const sys::OwnedFd& parent, const std::string& name, const std::string& path, std::size_t depth) {
    if (depth >= kMaxLevels) return fail("holds folders that are nested too deeply");
    const sys::OwnedFd inner = sys::open_resolved(parent.get(), name, O_RDONLY | O_DIRECTORY, kHere);
    if (!inner.valid()) return sys::errno_error("cannot look into " + path);
    // A descriptor of its own: readdir() keeps its place in it.
    const sys::Folder open = sys::folder_of(sys::open_resolved(inner.get(), "", O_RDONLY | O_DIRECTORY, kHere));
    if (!open) return sys::errno_error("cannot list " + path);
    std::vector<std::string> names;
    while (const dirent* next = sys::next_entry(open)) {
      if (names.size() > kMaxLookedAt) return fail("holds more than can be compared");
      names.emplace_back(next->d_name);
    }
    if (errno != 0) return sys::errno_error("cannot list " + path);
    std::ranges::sort(names);
    for (const std::string& each : names) WEIR_CHECK_OK(entry(inner, each, path + "/" + each, depth + 1));
    return {};
  }

  const timespec& since_;
  Print& print_;
  Sha256 sum_;
  std::size_t seen_ = 0;
};

}  // namespace

Result<Print> print_of(const sys::OwnedFd& parent, const std::string& name, const std::string& path,
                       const timespec& since) {
  Print print;
  Look look(since, print);
  WEIR_TRY(const bool there, look.entry(parent, name, path, 0));
  if (there) print.digest = look.digest();
  return print;
}

sys::OwnedFd open_parent(const sys::OwnedFd& root, const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return sys::open_resolved(root.get(), slash == std::string::npos ? "" : path.substr(0, slash), O_PATH | O_DIRECTORY,
                            kHere);
}

std::string name_in(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace weir::changes
