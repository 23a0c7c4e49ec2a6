#include "sandbox/folder_list.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "base/json.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

constexpr std::size_t kWriteAt = 32 * 1024;

std::string time_text(const timespec& time) {
  tm parts{};
  std::array<char, 64> text{};
  if (::gmtime_r(&time.tv_sec, &parts) == nullptr) return "1970-01-01T00:00:00Z";  // a year that does not fit an int
  return {text.data(), ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string mode_text(mode_t mode) {
  std::array<char, 8> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%04o", mode & 07777));
  return text.data();
}

class Lister {
 public:
  Lister(Depth depth, int to) : depth_(depth), to_(to) {}

  Result<> run(const sys::OwnedFd& top) {
    WEIR_CHECK_OK(enter(top.get(), "", ""));
    while (!levels_.empty()) {
      const dirent* const entry = sys::next_entry(levels_.back().folder);
      if (entry != nullptr) {
        WEIR_CHECK_OK(take(entry->d_name));
        continue;
      }
      if (errno != 0) return sys::errno_error("cannot list " + shown(levels_.back().path));
      levels_.pop_back();
    }
    return flush();
  }

 private:
  struct Level {
    sys::Folder folder;
    std::string path;  // with a slash behind it; empty: the top
  };

  static std::string shown(const std::string& path) { return path.empty() ? "the folder" : path; }

  Result<> enter(int parent, const std::string& name, const std::string& path) {
    if (levels_.size() >= kMaxListedDepth) return fail("cannot list " + path + ": folders in folders 200 times", ELOOP);
    sys::OwnedFd folder =
        sys::open_resolved(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, sys::kBeneath | RESOLVE_NO_XDEV);
    // Gone, or something else by now, or another file system.
    if (!folder.valid() && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR || errno == EXDEV)) return {};
    sys::Folder open = sys::folder_of(std::move(folder));
    if (open == nullptr) return sys::errno_error("cannot list " + shown(path));
    levels_.push_back({.folder = std::move(open), .path = path});
    return {};
  }

  Result<> take(const std::string& name) {
    const int parent = ::dirfd(levels_.back().folder.get());
    struct stat status{};
    if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return {};
      return sys::errno_error("cannot look at " + name);
    }
    const std::string path = levels_.back().path + name;
    JsonWriter line;
    line.begin_object()
        .field("name", path)
        .field("type", control::name_of(type_of(status.st_mode)))
        .field("bytes", static_cast<std::uint64_t>(status.st_size))
        .field("mode", mode_text(status.st_mode))
        .field("modified", time_text(status.st_mtim));
    if (S_ISLNK(status.st_mode)) line.field("target", sys::link_target(parent, name).value_or(""));
    line.end_object();
    text_ += line.text() + '\n';
    if (text_.size() >= kWriteAt) WEIR_CHECK_OK(flush());
    if (!S_ISDIR(status.st_mode) || depth_ == Depth::one) return {};
    return enter(parent, name, path + '/');
  }

  Result<> flush() {
    std::string_view rest = text_;
    while (!rest.empty()) {
      const ssize_t written = ::write(to_, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return sys::errno_error("cannot pass on the list");
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    text_.clear();
    return {};
  }

  Depth depth_;
  int to_;
  std::vector<Level> levels_;
  std::string text_;
};

}  // namespace

Result<> list_folder(const sys::OwnedFd& folder, Depth depth, int to) {
  return Lister(depth, to).run(folder);
}

control::FileType type_of(mode_t mode) {
  using enum control::FileType;
  switch (mode & S_IFMT) {
    case S_IFREG:
      return file;
    case S_IFDIR:
      return folder;
    case S_IFLNK:
      return link;
    case S_IFIFO:
      return fifo;
    case S_IFSOCK:
      return socket;
    case S_IFCHR:
    case S_IFBLK:
      return device;
    default:
      return other;
  }
}

}  // namespace weir::sandbox
