#include "sandbox/image_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "sandbox/etc_files.h"
#include "sandbox/root_files.h"
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

Result<sys::OwnedFd> take(const ImageRoot& image) {
  WEIR_TRY(const sys::OwnedFd folder, sys::open_without_links(image.folder));
  return sys::clone_mount(folder.get(), "", sys::Submounts::left_out, kImage);
}

// What weir puts on top of one image. The current folder is the layer.
class Layer {
 public:
  Layer(const Spec& spec, const sys::OwnedFd& image) : spec_(spec), image_(image) {}

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
    for (const Share& share : spec_.shares) WEIR_CHECK_OK(folders_as_far_as_possible(parent_of(share.target)));
    for (const std::string& tool : spec_.tools) WEIR_CHECK_OK(folders_as_far_as_possible(parent_of(tool)));
    if (!spec_.workdir.empty()) WEIR_CHECK_OK(folders_as_far_as_possible(spec_.workdir));
    WEIR_CHECK_OK(users());
    return make_names(spec_);
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
    const sys::OwnedFd entry = sys::open_resolved(image_.get(), path, O_PATH | O_NOFOLLOW, sys::kBeneath);
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
    return refuse("/" + path + " of image '" + spec_.image->name +
                  "' is, or leads through, something that is no folder");
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
    const sys::OwnedFd fd = sys::open_resolved(image_.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_IN_ROOT);
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
  const sys::OwnedFd& image_;
  std::set<std::string> covered_;
};

Result<> enter(const char* folder) {
  if (::chdir(folder) != 0) return sys::errno_error(std::string("cannot enter ") + folder);
  return {};
}

Result<sys::OwnedFd> mount_layers() {
  // The layers are named relative to the current folder; userxattr (5.11) is what an unprivileged overlay can use.
  auto overlay = sys::new_filesystem(
      "overlay", {{"lowerdir", "lower"}, {"upperdir", "upper"}, {"workdir", "work"}, {"userxattr", ""}},
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  if (!overlay) {
    return std::unexpected(
        std::move(overlay).error().with_remedy("images need overlays: kernel 5.11, as root 5.19, and a file system "
                                               "that one can lie on (not itself an overlay)"));
  }
  return std::move(*overlay);
}

}  // namespace

Result<sys::OwnedFd> prepare_image(const ImageRoot& image, const Identity& identity) {
  if (identity.kind() != Identity::Kind::range) return sys::OwnedFd();
  WEIR_TRY(sys::OwnedFd mount, in_context(take(image), "image '" + image.name + "'"));
  const std::vector<sys::IdRange> ids = {
      {.inside = image.first_id, .outside = identity.first(), .count = Identity::kRangeSize}};
  WEIR_CHECK_OK(sys::map_ids(mount, ids, ids, image.folder));
  return mount;
}

Result<> enter_image(const Spec& spec, const sys::OwnedFd& prepared) {
  const std::string context = "image '" + spec.image->name + "'";
  sys::OwnedFd own;
  if (!prepared.valid()) {
    WEIR_TRY(own, in_context(take(*spec.image), context));
  }
  const sys::OwnedFd& image = prepared.valid() ? prepared : own;
  for (const char* folder : {"lower", "upper", "work"}) WEIR_CHECK_OK(make_folder(folder, 0755));
  WEIR_CHECK_OK(sys::attach_mount(image, AT_FDCWD, "lower"));
  WEIR_CHECK_OK(enter("upper"));
  WEIR_CHECK_OK(in_context(Layer(spec, image).fill(), context));
  WEIR_CHECK_OK(enter(".."));
  WEIR_TRY(const sys::OwnedFd root, in_context(mount_layers(), context));
  // The overlay holds on to its layers. They leave the tree, so that exactly one mount lies on the host's root when it
  // is let go of: change_root() takes off one.
  if (::umount2(".", MNT_DETACH) != 0) return sys::errno_error("cannot hide the layers of the image");
  WEIR_CHECK_OK(sys::attach_mount(root, AT_FDCWD, "/"));
  if (::fchdir(root.get()) != 0) return sys::errno_error("cannot enter the image");
  return {};
}

}  // namespace weir::sandbox
