#include "changes/layer_changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/files.h"
#include "sys/folder.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::changes {

namespace {

// Each level holds a descriptor; sources are not nested deeper.
constexpr std::size_t kMaxDepth = 100;
// Entries looked at: a layer holds at most as many files as its memory.
constexpr std::uint64_t kMaxEntries = 1'000'000;

sys::OwnedFd open_folder(const sys::OwnedFd& above, const std::string& name, int flags) {
  return sys::open_resolved(above.get(), name, flags | O_DIRECTORY, sys::kBeneath | RESOLVE_NO_XDEV);
}

// overlayfs.rst, "whiteouts and opaque directories"; `user.`: the overlay is mounted with userxattr.
bool is_whiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == ::makedev(0, 0);
}
bool is_opaque(const sys::OwnedFd& folder) {
  char mark = 0;
  return ::fgetxattr(folder.get(), "user.overlay.opaque", &mark, 1) == 1 && mark == 'y';
}

LayerChange::Type type_of(const struct stat& status) {
  if (S_ISREG(status.st_mode)) return LayerChange::Type::file;
  if (S_ISDIR(status.st_mode)) return LayerChange::Type::folder;
  return S_ISLNK(status.st_mode) ? LayerChange::Type::link : LayerChange::Type::other;
}

class Walk {
 public:
  explicit Walk(const LayerBounds& bounds) : bounds_(bounds) {}

  // `below`: the folder under it, not valid where nothing is. `path`: ends with a slash, or is empty.
  void folder(const sys::OwnedFd& above, const sys::OwnedFd& below, const std::string& path, std::size_t depth) {
    // A descriptor of its own: readdir() keeps its place in it.
    const sys::Folder entries = sys::folder_of(open_folder(above, ".", O_RDONLY));
    if (!entries) return unreadable(path);
    while (const dirent* each = sys::next_entry(entries)) {
      if (++looked_at_ > kMaxEntries) {
        ++found_.left_out;
        return;
      }
      entry(above, below, each->d_name, path, depth);
    }
    if (errno != 0) unreadable(path);
  }

  LayerChanges take() {
    std::ranges::sort(found_.changes, {}, &LayerChange::path);
    return std::move(found_);
  }

 private:
  void unreadable(const std::string& path) {
    note({.path = path.empty() ? "." : path.substr(0, path.size() - 1),
          .kind = LayerChange::Kind::unreadable,
          .type = LayerChange::Type::folder});
  }

  void note(LayerChange change) {
    const std::size_t length = change.path.size() + change.link_target.size();
    // The names are the guest's, and so would be the memory that they take.
    if (found_.changes.size() >= bounds_.changes || length > bounds_.text - text_) {
      ++found_.left_out;
      return;
    }
    text_ += length;
    found_.changes.push_back(std::move(change));
  }

  void entry(const sys::OwnedFd& above, const sys::OwnedFd& below, const std::string& name, const std::string& path,
             std::size_t depth) {
    struct stat status{};
    if (::fstatat(above.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return;
    struct stat before{};
    const bool was_there = below.valid() && ::fstatat(below.get(), name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0;
    LayerChange change{.path = path + name,
                       .kind = was_there ? LayerChange::Kind::changed : LayerChange::Kind::added,
                       .type = type_of(status),
                       .mode = status.st_mode & 07777};
    if (is_whiteout(status)) {
      change.kind = LayerChange::Kind::deleted;
      change.type = LayerChange::Type::file;
    }
    if (change.type == LayerChange::Type::folder) return subfolder(above, below, std::move(change), name, depth);
    if (S_ISREG(status.st_mode)) change.bytes = static_cast<std::uint64_t>(status.st_size);
    if (S_ISLNK(status.st_mode)) change.link_target = sys::link_target(above.get(), name).value_or("");
    note(std::move(change));
  }

  // A folder that was there and still shows what is below it is no change by itself.
  void subfolder(const sys::OwnedFd& above, const sys::OwnedFd& below, LayerChange change, const std::string& name,
                 std::size_t depth) {
    const std::string path = change.path + "/";
    const sys::OwnedFd inner = open_folder(above, name, O_RDONLY);
    sys::OwnedFd under;
    if (change.kind == LayerChange::Kind::changed) under = open_folder(below, name, O_PATH);
    const bool hides =
        change.kind == LayerChange::Kind::changed && (!under.valid() || (inner.valid() && is_opaque(inner)));
    if (hides) {
      change.kind = LayerChange::Kind::replaced;
      under = sys::OwnedFd();
    }
    const bool too_deep = depth >= kMaxDepth;
    if (!inner.valid() || too_deep) change.kind = LayerChange::Kind::unreadable;
    if (change.kind != LayerChange::Kind::changed) note(change);
    if (change.kind != LayerChange::Kind::unreadable) folder(inner, under, path, depth + 1);
  }

  const LayerBounds& bounds_;
  LayerChanges found_;
  std::uint64_t looked_at_ = 0;
  std::size_t text_ = 0;  // never more than its bound
};

}  // namespace

std::string_view name_of(LayerChange::Kind kind) {
  using Kind = LayerChange::Kind;
  switch (kind) {
    case Kind::added:
      return "added";
    case Kind::changed:
      return "changed";
    case Kind::deleted:
      return "deleted";
    case Kind::replaced:
      return "replaced";
    case Kind::unreadable:
      return "unreadable";
  }
  return "";
}

std::string_view name_of(LayerChange::Type type) {
  using Type = LayerChange::Type;
  switch (type) {
    case Type::file:
      return "file";
    case Type::folder:
      return "folder";
    case Type::link:
      return "link";
    case Type::other:
      return "other";
  }
  return "";
}

LayerChanges changes_of(const sys::OwnedFd& layer, const std::string& source, const LayerBounds& bounds) {
  Walk walk(bounds);
  const auto below = sys::open_without_links(source);
  const sys::OwnedFd none;
  walk.folder(layer, below ? *below : none, "", 0);
  return walk.take();
}

}  // namespace weir::changes
