#include "sandbox/root/image_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "sandbox/root/etc_files.h"
#include "sandbox/root/root_files.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/id_mapped.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

constexpr std::uint64_t kImage = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr std::size_t kMaxUsers = 1024 * 1024;  // /etc/passwd of an image

std::unexpected<Error> refuse(const std::string& what) {
  return std::unexpected(Error(what).with_remedy("use another image, or mend this one"));
}

// What errors call it.
std::string context_of(const Spec& spec) {
  if (spec.over_session) return "the session's files";
  return spec.image ? "image '" + spec.image->name + "'" : "the snapshot";
}

// What lies below, top first, as paths and the id on disk that is 0 inside.
std::vector<LayerRoot> roots_below(const Spec& spec) {
  std::vector<LayerRoot> roots = spec.layers;
  if (spec.image) roots.push_back({.folder = spec.image->folder, .first_id = spec.image->first_id});
  return roots;
}

Result<sys::OwnedFd> take(const LayerRoot& root) {
  WEIR_TRY(const sys::OwnedFd folder, sys::open_without_links(root.folder));
  return sys::clone_mount(folder.get(), "", sys::Submounts::left_out, kImage);
}

// What weir puts on top of what is below. The current folder is the layer.
class Layer {
 public:
  Layer(const Spec& spec, const sys::OwnedFd& below) : spec_(spec), below_(below) {}

  Result<> fill() {
    for (const char* path : {"dev", "proc", "etc"}) WEIR_CHECK_OK(folders(path));
    const std::string place = spec_.user.home.substr(1);
    for (const std::string& path : {std::string("tmp"), std::string("run"), place.substr(0, place.find('/'))})
      WEIR_CHECK_OK(cover_link(path));
    WEIR_CHECK_OK(folders("tmp"));
    WEIR_CHECK_OK(folders("var/tmp"));
    for (const char* path : {"tmp", "var/tmp"}) {
      if (::chmod(path, 01777) != 0) return sys::errno_error(std::string("cannot open /") + path + " to all");
    }
    WEIR_CHECK_OK(folders("run"));
    WEIR_CHECK_OK(give_to("run", spec_.user.uid, spec_.user.gid));
    WEIR_CHECK_OK(home());
    WEIR_CHECK_OK(for_mounts());
    if (!spec_.workdir.empty()) WEIR_CHECK_OK(folders_as_far_as_possible(spec_.workdir));
    WEIR_CHECK_OK(users());
    return make_names(spec_);
  }

  Result<> for_mounts() {
    for (const Share& share : spec_.shares) WEIR_CHECK_OK(folders_as_far_as_possible(parent_of(share.target)));
    for (const std::string& tool : spec_.tools) WEIR_CHECK_OK(folders_as_far_as_possible(parent_of(tool)));
    return {};
  }

 private:
  enum class Found : std::uint8_t { nothing, folder, other };

  static std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

  // Some distributions have links to below /var or /sysroot there. A folder of weir's own takes the place.
  Result<> cover_link(const std::string& path) {
    struct stat status{};
    WEIR_TRY(const Found found, find(path, status));
    if (found != Found::other || !S_ISLNK(status.st_mode)) return {};
    covered_.insert(path);
    return folder(path, Found::nothing, status);
  }

  // What the image has at a path, no link followed.
  Result<Found> find(const std::string& path, struct stat& status) const {
    if (covered_.contains(path.substr(0, path.find('/')))) return Found::nothing;
    const sys::OwnedFd entry = sys::open_resolved(below_.get(), path, O_PATH | O_NOFOLLOW, sys::kBeneath);
    if (!entry.valid() && (errno == ENOENT || errno == EACCES)) return Found::nothing;
    if (!entry.valid() && errno != ELOOP && errno != ENOTDIR)
      return sys::errno_error("cannot look at /" + path + " of the image");
    if (!entry.valid()) return Found::other;
    if (::fstat(entry.get(), &status) != 0) return sys::errno_error("cannot look at /" + path + " of the image");
    return S_ISDIR(status.st_mode) ? Found::folder : Found::other;
  }

  // Makes a folder as the image has it: one above another is merged with it and gives it its mode and owner.
  Result<> folder(const std::string& path, Found found, const struct stat& status) {
    if (::mkdir(path.c_str(), 0755) != 0) {
      if (errno == EEXIST) return {};
      return sys::errno_error("cannot make the folder /" + path);
    }
    if (found == Found::nothing) return {};
    if (::chmod(path.c_str(), status.st_mode & 03777) != 0) return sys::errno_error("cannot make /" + path);
    // EINVAL: an owner that has no id in here; then the folder is the sandbox's, as everything it makes is.
    if (::lchown(path.c_str(), status.st_uid, status.st_gid) != 0 && errno != EINVAL && errno != EPERM)
      return sys::errno_error("cannot make /" + path);
    return {};
  }

  // False: the image has something else than a folder on the way.
  Result<bool> try_folders(std::string_view path) {
    while (path.starts_with('/')) path.remove_prefix(1);
    for (std::size_t slash = 0; slash != std::string::npos && !path.empty();) {
      slash = path.find('/', slash == 0 ? 0 : slash + 1);
      const std::string part(path.substr(0, slash));
      if (part.ends_with('/') || part == ".." || part.ends_with("/..")) return false;
      struct stat status{};
      WEIR_TRY(const Found found, find(part, status));
      if (found == Found::other) return false;
      WEIR_CHECK_OK(folder(part, found, status));
    }
    return true;
  }

  Result<> folders(const std::string& path) {
    WEIR_TRY(const bool made, try_folders(path));
    if (made) return {};
    return refuse("/" + path + " is, or leads through, something that is no folder");
  }

  // Where a link of the image is on the way, whoever needs the place resolves it inside.
  Result<> folders_as_far_as_possible(const std::string& path) {
    WEIR_TRY(const bool made, try_folders(path));
    static_cast<void>(made);
    return {};
  }

  Result<> home() {
    const std::string& home = spec_.user.home;
    WEIR_CHECK_OK(folders(home.substr(1)));
    const std::string path = home.substr(1);
    if (::chmod(path.c_str(), 0700) != 0) return sys::errno_error("cannot protect " + home);
    return give_to(path, spec_.user.uid, spec_.user.gid);
  }

  // A file of the image as text; empty when it has none.
  Result<std::string> text_of(const std::string& path) const {
    const sys::OwnedFd fd = sys::open_resolved(below_.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_IN_ROOT);
    if (!fd.valid() && (errno == ENOENT || errno == EACCES)) return std::string();
    if (!fd.valid()) return sys::errno_error("cannot read /" + path + " of the image");
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
      return refuse("/" + path + " of the image is no file");
    return sys::read_open_file(fd, "/" + path + " of the image", kMaxUsers);
  }

  // The image's users and groups, and the sandbox's if its number has no name yet.
  Result<> users() {
    for (const auto& [path, id, line] : {Table{"etc/passwd", spec_.user.uid, passwd_line(spec_.user)},
                                         Table{"etc/group", spec_.user.gid, group_line(spec_.user)}}) {
      WEIR_TRY(std::string text, text_of(path));
      if (has_id(text, id)) continue;
      if (text.empty() && id != 0)
        text = path == std::string_view("etc/passwd") ? "root:x:0:0:root:/root:/bin/sh\n" : "root:x:0:\n";
      if (!text.empty() && !text.ends_with('\n')) text += '\n';
      WEIR_CHECK_OK(make_file(path, text + line));
    }
    return {};
  }

  struct Table {
    const char* path;
    std::uint32_t id;
    std::string line;
  };

  static bool has_id(const std::string& table, std::uint32_t id) {
    const std::string wanted = std::to_string(id);
    for (std::string_view rest = table; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      const std::size_t first = line.find(':');
      const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
      if (second == std::string_view::npos) continue;
      if (line.substr(second + 1, line.find(':', second + 1) - second - 1) == wanted) return true;
    }
    return false;
  }

  const Spec& spec_;
  const sys::OwnedFd& below_;
  std::set<std::string> covered_;
};

Result<> go(const char* folder) {
  if (::chdir(folder) != 0) return sys::errno_error(std::string("cannot enter ") + folder);
  return {};
}

// What is below is named relative to the current folder, which holds it by number; userxattr (5.11) is what an
// unprivileged overlay can use.
Result<sys::OwnedFd> mount_overlay(std::size_t below, std::initializer_list<sys::MountOption> private_layer) {
  std::string lower = "0";
  for (std::size_t i = 1; i < below; ++i) lower += ":" + std::to_string(i);
  std::vector<sys::MountOption> options = {{"lowerdir", lower}, {"userxattr", ""}};
  options.insert(options.end(), private_layer);
  auto overlay = sys::new_filesystem("overlay", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  if (!overlay) {
    return std::unexpected(
        std::move(overlay).error().with_remedy("images and snapshots need overlays: kernel 5.11, as root 5.19, and a "
                                               "file system that one can lie on (not itself an overlay)"));
  }
  return std::move(*overlay);
}

// All that is below as one tree, to look at. The current folder holds it by number.
Result<sys::OwnedFd> view_of(std::size_t below) {
  if (below > 1) return mount_overlay(below, {});
  return sys::checked_fd(::open("0", O_PATH | O_DIRECTORY | O_CLOEXEC), "cannot open the layer");
}

}  // namespace

bool is_layered(const Spec& spec) {
  return spec.over_session || spec.image || !spec.layers.empty();
}

Result<std::vector<sys::OwnedFd>> prepare_lowers(const Spec& spec, const Identity& identity) {
  WEIR_ASSERT(spec.layers.size() <= kMaxLayers && !spec.over_session);
  std::vector<sys::OwnedFd> mounts;
  if (identity.kind() != Identity::Kind::range) return mounts;
  for (const LayerRoot& root : roots_below(spec)) {
    WEIR_TRY(sys::OwnedFd mount, in_context(take(root), context_of(spec)));
    const std::vector<sys::IdRange> ids = {
        {.inside = root.first_id, .outside = identity.first(), .count = Identity::kRangeSize}};
    WEIR_CHECK_OK(sys::map_ids(mount, ids, ids, root.folder));
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<LayeredRoot> LayeredRoot::begin(const Spec& spec, const std::vector<sys::OwnedFd>& prepared) {
  for (const char* folder : {"lower", "upper", "work"}) WEIR_CHECK_OK(make_folder(folder, 0755));
  WEIR_CHECK_OK(go("lower"));
  const std::vector<LayerRoot> roots = prepared.empty() ? roots_below(spec) : std::vector<LayerRoot>();
  const std::size_t below = prepared.empty() ? roots.size() : prepared.size();
  for (std::size_t i = 0; i < below; ++i) {
    sys::OwnedFd own;
    if (prepared.empty()) {
      WEIR_TRY(own, in_context(take(roots[i]), context_of(spec)));
    }
    const std::string place = std::to_string(i);
    WEIR_CHECK_OK(make_folder(place, 0755));
    WEIR_CHECK_OK(sys::attach_mount(prepared.empty() ? own : prepared[i], AT_FDCWD, place));
  }
  WEIR_TRY(sys::OwnedFd view, in_context(view_of(below), context_of(spec)));
  WEIR_CHECK_OK(go("../upper"));
  return LayeredRoot(spec, below, std::move(view));
}

Result<> LayeredRoot::fill_over_image() const {
  return in_context(Layer(spec_, view_).fill(), context_of(spec_));
}

Result<> LayeredRoot::make_folders_for_mounts() const {
  return in_context(Layer(spec_, view_).for_mounts(), context_of(spec_));
}

Result<> LayeredRoot::enter() {
  WEIR_CHECK_OK(go("../lower"));
  WEIR_TRY(const sys::OwnedFd root,
           in_context(mount_overlay(below_, {{"upperdir", "../upper"}, {"workdir", "../work"}}), context_of(spec_)));
  WEIR_CHECK_OK(go(".."));
  view_.reset();
  // The overlay holds on to its layers. They leave the tree, so that exactly one mount lies on the host's root when it
  // is let go of: change_root() takes off one.
  if (::umount2(".", MNT_DETACH) != 0) return sys::errno_error("cannot hide the layers of the root");
  WEIR_CHECK_OK(sys::attach_mount(root, AT_FDCWD, "/"));
  if (::fchdir(root.get()) != 0) return sys::errno_error("cannot enter the new root");
  return {};
}

}  // namespace weir::sandbox
