#include "image/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/failure_line.h"
#include "sys/errno.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::image {
namespace {

using wire::TarEntry;

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::uint32_t kLargestId = 65535;
constexpr std::uint64_t kIdBits = S_ISUID | S_ISGID;
constexpr const char* kWithout = "make the image without it, or tell weir's authors why a sandbox needs it";

std::unexpected<Error> refuse(const std::string& path, const std::string& why, const char* remedy = kWithout) {
  return std::unexpected(Error("entry " + wire::quoted_path(path) + ": " + why).with_remedy(remedy));
}

std::unexpected<Error> broken(const std::string& path, const char* what) {
  const int code = errno;
  return std::unexpected(Error("entry " + wire::quoted_path(path) + ": " + what + ": " + sys::errno_text(code), code));
}

sys::OwnedFd open_below(int folder, const std::string& path, int flags, std::uint64_t mode = 0) {
  return sys::open_resolved(folder, path, flags, sys::kBeneath | RESOLVE_NO_XDEV, mode);
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::unexpected<Error> comes_twice(const TarEntry& entry) {
  return refuse(entry.path, "it comes twice: which one is meant?",
                "make the archive anew, without appending to an older one");
}

bool is_zero(Bytes bytes) {
  return bytes.front() == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// Whole pages of zeros become holes: what was sparse stays so. False and errno: it could not be written.
bool write_with_holes(const sys::OwnedFd& file, Bytes bytes) {
  constexpr std::size_t kPage = 4096;
  const auto page_at = [&](std::size_t at) { return bytes.subspan(at, std::min(kPage, bytes.size() - at)); };
  while (!bytes.empty()) {
    const bool hole = is_zero(page_at(0));
    std::size_t run = 0;
    while (run < bytes.size() && is_zero(page_at(run)) == hole) run += page_at(run).size();
    const ssize_t done = hole ? static_cast<ssize_t>(run) : ::write(file.get(), bytes.data(), run);
    if (done < 0 || (hole && ::lseek(file.get(), done, SEEK_CUR) < 0)) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

// After a folder could not be opened.
std::unexpected<Error> unreachable(const std::string& path, const std::string& folder) {
  if (errno != ELOOP && errno != ENOTDIR && errno != EXDEV) return broken(path, "cannot open its folder");
  return refuse(path, "its folder '" + printable(folder) + "' leads through a link or is no folder",
                "make the archive from the real tree, so that every name is where it says");
}

}  // namespace

Result<> remove_below(int folder, const std::string& prefix, const std::unordered_set<std::string>& kept) {
  const sys::Folder entries = sys::folder_of(open_below(folder, "", O_RDONLY | O_DIRECTORY));
  if (entries == nullptr) return sys::errno_error("cannot list " + wire::quoted_path(prefix));
  while (const dirent* entry = sys::next_entry(entries)) {
    const std::string name = entry->d_name;
    const std::string path = prefix.empty() ? name : prefix + "/" + name;
    struct stat status{};
    if (::fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) return broken(path, "cannot look at it");
    const bool keep = kept.contains(path);
    if (S_ISDIR(status.st_mode)) {
      const sys::OwnedFd below = open_below(folder, name, O_RDONLY | O_DIRECTORY);
      if (!below.valid()) return broken(path, "cannot open it");
      WEIR_CHECK_OK(remove_below(below.get(), path, kept));
      // Not empty: something in it is kept.
      if (!keep && ::unlinkat(folder, entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOTEMPTY)
        return broken(path, "cannot remove it");
    } else if (!keep && ::unlinkat(folder, entry->d_name, 0) != 0) {
      return broken(path, "cannot remove it");
    }
  }
  if (errno != 0) return sys::errno_error("cannot list " + wire::quoted_path(prefix));
  return {};
}

Result<> TreeWriter::apply(wire::EntrySource& archive, Whiteouts whiteouts) {
  made_.clear();
  whiteouts_.clear();
  while (true) {
    WEIR_TRY(const std::optional<TarEntry> next, archive.next());
    if (!next) return {};
    WEIR_CHECK_OK(entry(*next, archive, whiteouts));
  }
}

Result<> TreeWriter::count(const TarEntry& entry) {
  if (++tally_.entries > limits_.entries) {
    return refuse(
        entry.path,
        "it is entry number " + std::to_string(tally_.entries) + " (limit " + std::to_string(limits_.entries) + ")",
        "make a smaller image");
  }
  if (entry.size > limits_.bytes || tally_.bytes + entry.size > limits_.bytes) {
    return refuse(entry.path,
                  "with its " + std::to_string(entry.size) + " bytes the image is larger than " +
                      (limits_.bytes >> 30 != 0 ? std::to_string(limits_.bytes >> 30) + " GiB"
                                                : std::to_string(limits_.bytes >> 20) + " MiB"),
                  "make a smaller image");
  }
  tally_.bytes += entry.size;
  return {};
}

Result<> TreeWriter::entry(const TarEntry& entry, wire::ByteStream& content, Whiteouts whiteouts) {
  WEIR_CHECK_OK(count(entry));
  const std::string name = name_of(entry.path);
  if (name.starts_with(kWhiteout)) {
    if (whiteouts == Whiteouts::refused) {
      return refuse(entry.path, "a whiteout, which only a layer of an OCI image can have",
                    "import the OCI image, not one of its layers");
    }
    return whiteouts == Whiteouts::kept ? keep_whiteout(entry, parent_of(entry.path), name)
                                        : whiteout(entry, parent_of(entry.path), name);
  }
  WEIR_TRY(const bool skip, left_out(entry));
  if (skip) return {};
  const bool repeated = !entry.path.empty() && !made_.insert(entry.path).second;
  if (repeated && entry.type != TarEntry::Type::folder) return comes_twice(entry);
  WEIR_TRY(const Place place, place_of(entry.path));
  WEIR_CHECK_OK(make_room(place, entry, repeated ? Before::this_archive : Before::another));
  return make(place, entry, content);
}

Result<bool> TreeWriter::left_out(const TarEntry& entry) {
  using enum TarEntry::Type;
  if (entry.type != character_device && entry.type != block_device && entry.type != fifo) return false;
  if (entry.path.starts_with("dev/")) {
    ++tally_.device_nodes;
    return true;
  }
  if (entry.type == fifo) return refuse(entry.path, "a named pipe; a sandbox makes its own when it runs");
  return refuse(entry.path, "a device outside /dev; weir gives a sandbox its devices");
}

// The marks say what of the layers below is gone (OCI image specification, "Whiteouts").
Result<> TreeWriter::whiteout(const TarEntry& entry, const std::string& folder, const std::string& name) {
  if (entry.type != TarEntry::Type::file || entry.size != 0)
    return refuse(entry.path, "a whiteout that is no empty file");
  // Each may walk the whole tree.
  if (!whiteouts_.insert(entry.path).second) return comes_twice(entry);
  // Of a folder that is not there nothing needs to go.
  const sys::OwnedFd parent = open_below(root_.get(), folder, O_RDONLY | O_DIRECTORY);
  if (!parent.valid() && errno == ENOENT) return {};
  if (!parent.valid()) return unreachable(entry.path, folder);
  if (name == kOpaque) return remove_below(parent.get(), folder, made_);
  const std::string gone = name.substr(kWhiteout.size());
  if (gone.empty() || gone == "." || gone == ".." || gone.starts_with(kWhiteout))
    return refuse(entry.path, "a whiteout of nothing that could be there");
  const std::string path = folder.empty() ? gone : folder + "/" + gone;
  if (made_.contains(path)) return refuse(entry.path, "it removes what its own layer makes");
  struct stat status{};
  if (::fstatat(parent.get(), gone.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Result<>() : broken(entry.path, "cannot look for what it removes");
  if (!S_ISDIR(status.st_mode)) {
    if (::unlinkat(parent.get(), gone.c_str(), 0) != 0) return broken(entry.path, "cannot remove what it names");
    return {};
  }
  const sys::OwnedFd below = open_below(parent.get(), gone, O_RDONLY | O_DIRECTORY);
  if (!below.valid()) return broken(entry.path, "cannot open what it removes");
  WEIR_CHECK_OK(remove_below(below.get(), path, made_));
  if (::unlinkat(parent.get(), gone.c_str(), AT_REMOVEDIR) != 0 && errno != ENOTEMPTY)
    return broken(entry.path, "cannot remove what it names");
  return {};
}

// A device 0:0 (which since 5.8 everybody may make), or the attribute that overlays with userxattr read.
Result<> TreeWriter::keep_whiteout(const TarEntry& entry, const std::string& folder, const std::string& name) {
  const sys::OwnedFd parent = open_below(root_.get(), folder, O_RDONLY | O_DIRECTORY);
  if (!parent.valid()) return unreachable(entry.path, folder);
  if (name == kOpaque) {
    if (::fsetxattr(parent.get(), "user.overlay.opaque", "y", 1, 0) == 0) return {};
    return broken(entry.path, "cannot mark the folder as new");
  }
  const std::string gone = name.substr(kWhiteout.size());
  if (gone.empty() || gone == "." || gone == ".." || gone.starts_with(kWhiteout))
    return refuse(entry.path, "a whiteout of nothing that could be there");
  if (::mknodat(parent.get(), gone.c_str(), S_IFCHR, 0) != 0) return broken(entry.path, "cannot mark it as gone");
  return {};
}

// Folders that no entry spoke of yet are made on the way, as every unpacker does.
Result<sys::OwnedFd> TreeWriter::open_folder(const std::string& path) {
  sys::OwnedFd folder = open_below(root_.get(), path, O_RDONLY | O_DIRECTORY);
  if (folder.valid() || errno != ENOENT) return folder;
  WEIR_TRY(const sys::OwnedFd parent, open_folder(parent_of(path)));
  if (!parent.valid()) return sys::OwnedFd();
  if (::mkdirat(parent.get(), name_of(path).c_str(), 0755) != 0) return broken(path, "cannot make the folder");
  ++tally_.entries;
  return open_below(root_.get(), path, O_RDONLY | O_DIRECTORY);
}

Result<TreeWriter::Place> TreeWriter::place_of(const std::string& path) {
  const std::string folder = parent_of(path);
  WEIR_TRY(sys::OwnedFd parent, open_folder(folder));
  if (!parent.valid()) return unreachable(path, folder);
  return Place{.parent = std::move(parent), .name = path.empty() ? "." : name_of(path)};
}

// What a layer below put there gives way, except a folder to a folder.
Result<> TreeWriter::make_room(const Place& place, const TarEntry& entry, Before before) {
  struct stat status{};
  if (::fstatat(place.parent.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Result<>() : broken(entry.path, "cannot look at its place");
  const bool is_folder = S_ISDIR(status.st_mode);
  if (is_folder && entry.type == TarEntry::Type::folder) return {};
  if (before == Before::this_archive) return comes_twice(entry);
  if (is_folder) {
    const sys::OwnedFd below = open_below(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY);
    if (!below.valid()) return broken(entry.path, "cannot open what is in its place");
    WEIR_CHECK_OK(remove_below(below.get(), entry.path, made_));
  }
  if (::unlinkat(place.parent.get(), place.name.c_str(), is_folder ? AT_REMOVEDIR : 0) == 0) return {};
  if (errno == ENOTEMPTY)
    return refuse(entry.path, "the same archive makes a folder of that name with something in it");
  return broken(entry.path, "cannot remove what is in its place");
}

Result<> TreeWriter::make(const Place& place, const TarEntry& entry, wire::ByteStream& content) {
  using enum TarEntry::Type;
  switch (entry.type) {
    case file:
      return make_file(place, entry, content);
    case hard_link:
      return make_hard_link(place, entry);
    case symbolic_link: {
      if (::symlinkat(entry.link.c_str(), place.parent.get(), place.name.c_str()) != 0)
        return broken(entry.path, "cannot make the link");
      if (!entry.attributes.empty()) return refuse(entry.path, "an attribute on a symbolic link");
      if (entry.uid > kLargestId || entry.gid > kLargestId) return refuse(entry.path, "its owner is above 65535");
      if (owners_ == Owners::one) {
        if (entry.uid != 0 || entry.gid != 0) ++tally_.other_owners;
      } else if (::fchownat(place.parent.get(), place.name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
        return broken(entry.path, "cannot give it to its owner");
      }
      return {};
    }
    case folder: {
      if (::mkdirat(place.parent.get(), place.name.c_str(), 0700) != 0 && errno != EEXIST)
        return broken(entry.path, "cannot make the folder");
      const sys::OwnedFd made = open_below(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY);
      if (!made.valid()) return broken(entry.path, "cannot open the folder");
      WEIR_CHECK_OK(set_attributes(made.get(), entry));
      return set_owner_and_mode(made.get(), entry);
    }
    case character_device:
    case block_device:
    case fifo:
      break;
  }
  return refuse(entry.path, "a device");
}

Result<> TreeWriter::make_file(const Place& place, const TarEntry& entry, wire::ByteStream& content) {
  const sys::OwnedFd made = open_below(place.parent.get(), place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!made.valid()) return broken(entry.path, "cannot make the file");
  std::array<std::uint8_t, 256 * 1024> buffer;
  std::uint64_t size = 0;
  while (true) {
    auto got = content.read(buffer);
    if (!got) return std::unexpected(std::move(got).error().context("entry " + wire::quoted_path(entry.path)));
    if (*got == 0) break;
    if (!write_with_holes(made, Bytes(buffer).first(*got))) return broken(entry.path, "cannot write it");
    size += *got;
  }
  // A hole at the end is not there yet.
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0) return broken(entry.path, "cannot write it");
  WEIR_CHECK_OK(set_attributes(made.get(), entry));
  WEIR_CHECK_OK(set_owner_and_mode(made.get(), entry));
  const std::array<timespec, 2> times = {timespec{.tv_sec = entry.mtime, .tv_nsec = 0},
                                         timespec{.tv_sec = entry.mtime, .tv_nsec = 0}};
  if (::futimens(made.get(), times.data()) != 0) return broken(entry.path, "cannot set its time");
  return {};
}

// Only to a regular file of this tree: a link to anything else would be a second name for what is judged by its first.
Result<> TreeWriter::make_hard_link(const Place& place, const TarEntry& entry) {
  const std::string why = "a hard link to '" + printable(entry.link) + "', which is no file of this tree";
  if (entry.link.empty()) return refuse(entry.path, why);
  const sys::OwnedFd folder = open_below(root_.get(), parent_of(entry.link), O_RDONLY | O_DIRECTORY);
  struct stat status{};
  const std::string name = name_of(entry.link);
  if (!folder.valid() || ::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return refuse(entry.path, why, "make the archive so that it holds the file before the link");
  if (!S_ISREG(status.st_mode))
    return refuse(entry.path, why, "make the archive so that it holds the file before the link");
  if (::linkat(folder.get(), name.c_str(), place.parent.get(), place.name.c_str(), 0) != 0)
    return broken(entry.path, "cannot make the hard link");
  return {};
}

Result<> TreeWriter::set_attributes(int fd, const TarEntry& entry) {
  for (const auto& [name, value] : entry.attributes) {
    if (name == "security.capability") {
      ++tally_.file_capabilities;
      continue;
    }
    // What overlays store there changes what the sandbox would see.
    if (!name.starts_with("user.") || name.starts_with("user.overlay.")) {
      return refuse(entry.path, "the extended attribute " + printable(name) + " (only user.* is taken)",
                    "make the archive without it, with tar --no-xattrs --no-acls --no-selinux");
    }
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) {
      return broken(entry.path, "cannot set an extended attribute");
    }
  }
  return {};
}

Result<> TreeWriter::set_owner_and_mode(int fd, const TarEntry& entry) {
  if (entry.uid > kLargestId || entry.gid > kLargestId) return refuse(entry.path, "its owner is above 65535");
  if (owners_ == Owners::one) {
    if (entry.uid != 0 || entry.gid != 0) ++tally_.other_owners;
  } else if (::fchown(fd, entry.uid, entry.gid) != 0) {
    return broken(entry.path, "cannot give it to its owner");
  }
  // Inert inside (nosuid, no_new_privs), and nothing that should lie about on the host. On a folder the group bit means
  // something else.
  std::uint64_t mode = entry.mode;
  if (entry.type != TarEntry::Type::folder && (mode & kIdBits) != 0) ++tally_.set_id_bits;
  mode &= entry.type == TarEntry::Type::folder ? ~std::uint64_t{S_ISUID} : ~kIdBits;
  if (::fchmod(fd, static_cast<mode_t>(mode)) != 0) return broken(entry.path, "cannot set its mode");
  return {};
}

}  // namespace weir::image
