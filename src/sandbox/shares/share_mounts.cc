#include "sandbox/shares/share_mounts.h"

#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "sandbox/root/image_root.h"
#include "sandbox/root/machine_mounts.h"
#include "sandbox/root/root_files.h"
#include "sandbox/shares/id_mapped.h"
#include "sandbox/shares/share_copy.h"
#include "sys/errno.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::sandbox {
namespace {

constexpr std::uint64_t kShared = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
// Where the layers of an overlay are mounted for the moment in which the kernel looks them up by name.
constexpr const char* kLayers = ".weir-layers";

Result<sys::OwnedFd> open_source(const std::string& path) {
  return in_context(sys::open_without_links(path), "cannot share " + path);
}

// The attributes a share gets when it is taken. Layers of an overlay are read-only by nature, copies are only read.
std::uint64_t attributes_of(Share::Access access) {
  return access == Share::Access::read_write ? kShared : kShared | MOUNT_ATTR_RDONLY;
}

Result<sys::OwnedFd> take(const Share& share) {
  WEIR_TRY(const sys::OwnedFd source, open_source(share.source));
  return in_context(sys::clone_mount(source.get(), "", sys::Submounts::included, attributes_of(share.access)),
                    "cannot share " + share.source);
}

Result<struct stat> look_at(const sys::OwnedFd& fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys::errno_error("cannot look at " + path);
  return status;
}

Result<> protect_missing(Share& share, Placeholders& placeholders) {
  if (share.access != Share::Access::read_write || share.read_only_below.empty()) return {};
  WEIR_TRY(const sys::OwnedFd folder, open_source(share.source));
  for (std::string& path : share.read_only_below) {
    WEIR_TRY(path, placeholders.make(folder, path));
  }
  return {};
}

Result<> attach_read_only(const sys::OwnedFd& entry) {
  WEIR_TRY(const sys::OwnedFd mount,
           sys::clone_mount(entry.get(), "", sys::Submounts::included, kShared | MOUNT_ATTR_RDONLY));
  return sys::attach_mount(mount, entry.get(), "");
}

// A mount point can be neither renamed nor removed, but a folder above it can, mount and all, and another put in its
// place. So every folder on the way becomes a mount point too.
Result<> pin(const sys::OwnedFd& entry) {
  WEIR_TRY(const sys::OwnedFd mount, sys::clone_mount(entry.get(), "", sys::Submounts::included, kShared));
  return sys::attach_mount(mount, entry.get(), "");
}

// `share`: the root of the mounted share. Each step is looked up anew, so that it is found on top of the mounts made
// before.
Result<> protect(const sys::OwnedFd& share, const std::string& path) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end == 0 ? 0 : end + 1);
    const std::string part = path.substr(0, end);
    const sys::OwnedFd entry = sys::open_resolved(share.get(), part, O_PATH, sys::kBeneath);
    // Placeholders::make() has found that nobody inside can make it either.
    if (!entry.valid() && errno == ENOENT) return {};
    if (!entry.valid()) return sys::errno_error("cannot protect " + part + " in the shared folder");
    const bool last = end == std::string::npos;
    WEIR_CHECK_OK(in_context(last ? attach_read_only(entry) : pin(entry), "cannot protect " + path));
  }
  return {};
}

Result<> mount_bind(const Share& share, const sys::OwnedFd& source, const sys::OwnedFd& place) {
  WEIR_CHECK_OK(sys::attach_mount(source, place.get(), ""));
  if (share.access != Share::Access::read_write) return {};
  for (const std::string& path : share.read_only_below) WEIR_CHECK_OK(protect(source, path));
  return {};
}

// Files are read and made with the user's rights: what the mount says belongs to the user, and so does the copy.
Result<> copy(const sys::OwnedFd& source, const sys::OwnedFd& place, const User& user) {
  if (::fchownat(place.get(), "", user.uid, user.gid, AT_EMPTY_PATH) != 0)
    return sys::errno_error("cannot give the copy to the sandbox's user");
  const int gid = ::setfsgid(user.gid);
  const int uid = ::setfsuid(user.uid);
  Result<> copied = copy_tree(source, place);
  ::setfsuid(static_cast<uid_t>(uid));
  ::setfsgid(static_cast<gid_t>(gid));
  return copied;
}

// Where files count (a limit of disk or of memory) a layer must not have a file system of its own.
bool files_count(const Limits& limits) {
  return limits.disk_bytes || limits.memory_bytes;
}

bool has_overlay(const Spec& spec) {
  return std::ranges::any_of(spec.shares, [](const Share& share) { return share.access == Share::Access::overlay; });
}

// Over layers that were in strangers' hands the place for those of a share is made before they show: what they have by
// that name (a folder, a link out of here) is covered, and nobody asks what it is.
bool layers_lie_in_root(const Spec& spec) {
  return files_count(spec.limits) || is_layered(spec);
}

// The folder for the layers of one overlay.
Result<std::string> make_layers(const Spec& spec, std::size_t number) {
  if (!layers_lie_in_root(spec)) {
    WEIR_TRY(const sys::OwnedFd layers, sys::new_filesystem("tmpfs", {{"mode", "0700"}}, kShared));
    WEIR_CHECK_OK(make_folder(kLayers, 0700));
    WEIR_CHECK_OK(sys::attach_mount(layers, AT_FDCWD, kLayers));
    return kLayers;
  }
  std::string folder = std::string(kLayers) + "/" + std::to_string(number);
  WEIR_CHECK_OK(make_folder(folder, 0700));
  return folder;
}

// The overlay has its layers, and nobody else needs their names.
Result<> leave_layers(const Spec& spec, const std::string& folder) {
  const bool in_root = layers_lie_in_root(spec);
  const std::string mount = in_root ? folder + "/lower" : folder;
  if (::umount2(mount.c_str(), MNT_DETACH) != 0 || (!in_root && ::rmdir(kLayers) != 0))
    return sys::errno_error("cannot hide the layers of an overlay");
  return {};
}

// Layers that lie in the root are behind an empty folder that nobody inside can move away.
Result<> hide_layers(const Spec& spec) {
  if (!has_overlay(spec) || !layers_lie_in_root(spec)) return {};
  WEIR_TRY(const sys::OwnedFd empty,
           sys::new_filesystem("tmpfs", {{"mode", "0555"}, {"size", "4k"}, {"nr_inodes", "2"}},
                               kShared | MOUNT_ATTR_RDONLY));
  return sys::attach_mount(empty, AT_FDCWD, kLayers);
}

Result<> make_upper(const struct stat& lower, const std::string& folder) {
  const std::string upper = folder + "/upper";
  WEIR_CHECK_OK(make_folder(upper, lower.st_mode & 0777));
  const auto given = give_to(upper, lower.st_uid, lower.st_gid);
  // EINVAL: an owner that has no id in here; then the layer is the sandbox's user's, as everything else is.
  if (!given && given.error().code() != EINVAL) return given;
  WEIR_CHECK_OK(make_folder(folder + "/work", 0700));
  return make_folder(folder + "/lower", 0700);
}

// The layers are named to the kernel relative to the current folder, so that no character of a host path needs escaping
// there, and are gone from the sandbox's view afterwards. Returns the upper one.
Result<sys::OwnedFd> mount_overlay(const Share& share, const sys::OwnedFd& source, const sys::OwnedFd& place,
                                   const Spec& spec, std::size_t number) {
  WEIR_TRY(const struct stat lower, look_at(source, share.source));
  if (!S_ISDIR(lower.st_mode)) return fail("cannot share " + share.source + " as an overlay: it is not a folder");
  WEIR_TRY(const std::string folder, make_layers(spec, number));
  WEIR_CHECK_OK(make_upper(lower, folder));
  WEIR_CHECK_OK(sys::attach_mount(source, AT_FDCWD, folder + "/lower"));
  // userxattr (5.11): what an overlay of an unprivileged mounter may store its marks in.
  auto overlay = sys::new_filesystem("overlay",
                                     {{"lowerdir", folder + "/lower"},
                                      {"upperdir", folder + "/upper"},
                                      {"workdir", folder + "/work"},
                                      {"userxattr", ""}},
                                     kShared);
  if (!overlay) {
    return std::unexpected(
        std::move(overlay)
            .error()
            .context("cannot share " + share.source)
            .with_remedy("use :copy; an overlay needs kernel 5.11 and a file system that it can lie on"));
  }
  WEIR_CHECK_OK(sys::attach_mount(*overlay, place.get(), ""));
  const std::string upper = folder + "/upper";
  WEIR_TRY(sys::OwnedFd layer, sys::checked_fd(::open(upper.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                                               "cannot open " + upper));
  WEIR_CHECK_OK(leave_layers(spec, folder));
  return layer;
}

// Returns the upper layer of an overlay; nothing for another share.
Result<sys::OwnedFd> mount_share(const PreparedShare& prepared, const Spec& spec, std::size_t number) {
  const Share& share = prepared.share;
  sys::OwnedFd own;
  if (!prepared.mount.valid()) {
    WEIR_TRY(own, take(share));
  }
  const sys::OwnedFd& source = prepared.mount.valid() ? prepared.mount : own;
  WEIR_TRY(const struct stat status, look_at(source, share.source));
  const auto kind = S_ISDIR(status.st_mode) ? MountPointKind::folder : MountPointKind::file;
  WEIR_TRY(const sys::OwnedFd place, mount_point(share.target, kind));
  switch (share.access) {
    case Share::Access::read_write:
    case Share::Access::read_only:
      WEIR_CHECK_OK(mount_bind(share, source, place));
      break;
    case Share::Access::copy:
      WEIR_CHECK_OK(copy(source, place, spec.user));
      break;
    case Share::Access::overlay:
      return mount_overlay(share, source, place, spec, number);
  }
  return sys::OwnedFd();
}

}  // namespace

Result<std::vector<PreparedShare>> prepare_shares(const Spec& spec, const Identity& identity,
                                                  Placeholders& placeholders) {
  std::vector<PreparedShare> prepared;
  for (const Share& share : spec.shares) {
    PreparedShare& entry = prepared.emplace_back(PreparedShare{.share = share, .mount = {}});
    if (share.of == Share::Of::session) continue;
    // The lower layer of an overlay is one file system, without what is mounted below.
    if (share.access != Share::Access::overlay) WEIR_CHECK_OK(refuse_machine_mounts(share.source));
    WEIR_CHECK_OK(protect_missing(entry.share, placeholders));
    if (identity.kind() != Identity::Kind::range) continue;
    WEIR_TRY(entry.mount, take(share));
    WEIR_TRY(const struct stat status, look_at(entry.mount, share.source));
    WEIR_CHECK_OK(map_owner(entry.mount, status.st_uid, status.st_gid, identity, share.source));
  }
  return prepared;
}

Result<sys::OwnedFd> take_layers(const Spec& spec) {
  if (!has_overlay(spec)) return sys::OwnedFd();
  WEIR_CHECK_OK(make_folder(kLayers, 0700));
  return sys::clone_mount(AT_FDCWD, kLayers, sys::Submounts::left_out, kShared);
}

Result<> make_place_for_layers() {
  return make_folder(kLayers, 0700);
}

Result<> put_layers(const sys::OwnedFd& layers) {
  return sys::attach_mount(layers, AT_FDCWD, kLayers);
}

Result<> mount_shares(const std::vector<PreparedShare>& shares, const Spec& spec, const LayerTaker& taker) {
  if (has_overlay(spec) && layers_lie_in_root(spec) && !is_layered(spec)) WEIR_CHECK_OK(make_folder(kLayers, 0700));
  std::uint32_t number = 0;
  for (const PreparedShare& prepared : shares) {
    WEIR_TRY(const sys::OwnedFd layer,
             in_context(mount_share(prepared, spec, number), "option -v: " + prepared.share.target));
    if (spec.shows_layers && layer.valid()) WEIR_CHECK_OK(taker(number, layer));
    ++number;
  }
  return hide_layers(spec);
}

}  // namespace weir::sandbox
