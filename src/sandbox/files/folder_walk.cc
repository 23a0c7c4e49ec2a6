#include "sandbox/files/folder_walk.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <vector>

#include "sys/errno.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

class Walk {
 public:
  Walk(Depth depth, const std::function<Result<>(const Found&)>& visit) : depth_(depth), visit_(visit) {}

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
    return {};
  }

 private:
  struct Level {
    sys::Folder folder;
    std::string path;  // with a slash behind it; empty: the top
  };

  static std::string shown(const std::string& path) { return path.empty() ? "the folder" : path; }

  Result<> enter(int parent, const std::string& name, const std::string& path) {
    if (levels_.size() >= kMaxWalkDepth)
      return fail("cannot list " + path.substr(0, 200) + "...: folders in folders 200 times", ELOOP);
    sys::OwnedFd folder = sys::open_resolved(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, sys::kBeneath);
    // Gone, or something else by now.
    if (!folder.valid() && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR)) return {};
    if (folder.valid() && !levels_.empty() && is_made_up(folder.get())) return {};
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
    WEIR_CHECK_OK(visit_({.parent = parent, .name = name, .path = path, .status = status}));
    if (!S_ISDIR(status.st_mode) || depth_ == Depth::one) return {};
    return enter(parent, name, path + '/');
  }

  Depth depth_;
  const std::function<Result<>(const Found&)>& visit_;
  std::vector<Level> levels_;
};

}  // namespace

Result<> walk_folder(const sys::OwnedFd& top, Depth depth, const std::function<Result<>(const Found&)>& visit) {
  return Walk(depth, visit).run(top);
}

bool is_made_up(int fd) {
  struct statfs system{};
  if (::fstatfs(fd, &system) != 0) return true;
  for (const long magic :
       {long{PROC_SUPER_MAGIC}, long{SYSFS_MAGIC}, long{CGROUP_SUPER_MAGIC}, long{CGROUP2_SUPER_MAGIC},
        long{DEBUGFS_MAGIC}, long{TRACEFS_MAGIC}, long{DEVPTS_SUPER_MAGIC}}) {
    if (system.f_type == magic) return true;
  }
  return false;
}

}  // namespace weir::sandbox
