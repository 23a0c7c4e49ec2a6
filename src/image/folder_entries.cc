#include "image/folder_entries.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::image {
namespace {

using wire::TarEntry;

constexpr const char* kArchive = "import an archive of it: tar -C FOLDER --numeric-owner -cf ARCHIVE .";

std::unexpected<Error> refuse(const std::string& path, const std::string& why, const char* remedy) {
  return std::unexpected(Error("entry " + wire::quoted_path(path) + ": " + why).with_remedy(remedy));
}

std::unexpected<Error> changed(const std::string& path) {
  return refuse(path, "it changed while it was read", "import the folder when nobody works in it");
}

// After something could not be opened that its folder lists.
std::unexpected<Error> unreachable(const std::string& path) {
  const int code = errno;
  if (code == EXDEV) return refuse(path, "another file system is mounted there", "unmount it first");
  if (code == ENOENT || code == ELOOP || code == ENOTDIR) return changed(path);
  return std::unexpected(
      Error("entry " + wire::quoted_path(path) + ": cannot read it: " + sys::errno_text(code), code)
          .with_remedy("let somebody who may read all of it make an archive of it, and import that"));
}

TarEntry::Type type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return TarEntry::Type::file;
    case S_IFDIR:
      return TarEntry::Type::folder;
    case S_IFLNK:
      return TarEntry::Type::symbolic_link;
    case S_IFCHR:
      return TarEntry::Type::character_device;
    case S_IFBLK:
      return TarEntry::Type::block_device;
    default:
      return TarEntry::Type::fifo;
  }
}

bool is_same_file(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino && (one.st_mode & S_IFMT) == (other.st_mode & S_IFMT);
}

bool is_unchanged(const struct stat& before, const struct stat& now) {
  const auto same = [](const timespec& one, const timespec& other) {
    return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
  };
  return before.st_size == now.st_size && same(before.st_mtim, now.st_mtim) && same(before.st_ctim, now.st_ctim);
}

Result<std::string> link_target(const sys::OwnedFd& link, const std::string& path) {
  const auto target = sys::link_target(link.get(), "");
  if (!target) return unreachable(path);
  return *target;
}

Result<> read_attributes(const sys::OwnedFd& file, TarEntry& entry) {
  std::array<char, XATTR_LIST_MAX> names{};
  const ssize_t size = ::flistxattr(file.get(), names.data(), names.size());
  if (size < 0 && errno == EOPNOTSUPP) return {};
  if (size < 0) return unreachable(entry.path);
  std::size_t bytes = 0;
  for (std::string_view rest(names.data(), static_cast<std::size_t>(size)); !rest.empty();) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    std::string value;
    // Of all others the writer wants to know no more than that they are there.
    if (name.starts_with("user.")) {
      value.resize(XATTR_SIZE_MAX);
      const ssize_t length = ::fgetxattr(file.get(), name.c_str(), value.data(), value.size());
      if (length < 0) return errno == ENODATA ? changed(entry.path) : unreachable(entry.path);
      value.resize(static_cast<std::size_t>(length));
    }
    bytes += name.size() + value.size();
    if (bytes > wire::kMaxPaxBytes)
      return refuse(entry.path, "more than a MiB of extended attributes", "make the image without them");
    entry.attributes.emplace_back(name, std::move(value));
  }
  return {};
}

}  // namespace

sys::OwnedFd FolderEntries::open(const std::string& path, int flags) const {
  return sys::open_resolved(folder_, path, flags | O_NOFOLLOW, sys::kBeneath | RESOLVE_NO_XDEV);
}

Result<std::optional<TarEntry>> FolderEntries::next() {
  content_.reset();
  if (waiting_.empty()) return std::optional<TarEntry>();
  TarEntry entry;
  entry.path = std::move(waiting_.back());
  waiting_.pop_back();
  if (!entry.path.empty()) {
    WEIR_TRY(entry.path, wire::canonical_tar_path(entry.path));
  }
  const sys::OwnedFd found = open(entry.path, O_PATH);
  struct stat status{};
  if (!found.valid() || ::fstat(found.get(), &status) != 0) return unreachable(entry.path);
  if (S_ISSOCK(status.st_mode))
    return refuse(entry.path, "a socket; what listens there makes its own when it runs", "remove it");
  entry.type = type_of(status.st_mode);
  // A device or a pipe is never opened.
  if (entry.type == TarEntry::Type::file || entry.type == TarEntry::Type::folder) {
    WEIR_CHECK_OK(look_into(entry, status));
    return entry;
  }
  if (entry.type == TarEntry::Type::symbolic_link) {
    WEIR_TRY(entry.link, link_target(found, entry.path));
  }
  WEIR_CHECK_OK(describe(entry, status));
  return entry;
}

// Reads what only an open file or folder tells. `seen`: what its name led to a moment ago.
Result<> FolderEntries::look_into(TarEntry& entry, const struct stat& seen) {
  const bool is_folder = entry.type == TarEntry::Type::folder;
  file_ = open(entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY | (is_folder ? O_DIRECTORY : 0));
  if (!file_.valid() || ::fstat(file_.get(), &before_) != 0) return unreachable(entry.path);
  if (!is_same_file(seen, before_)) return changed(entry.path);
  if (!is_folder && before_.st_nlink > 1) {
    const auto [first, is_new] = linked_.try_emplace({before_.st_dev, before_.st_ino}, entry.path);
    if (!is_new) {
      entry.type = TarEntry::Type::hard_link;
      entry.link = first->second;
      return {};
    }
  }
  WEIR_CHECK_OK(describe(entry, before_));
  WEIR_CHECK_OK(read_attributes(file_, entry));
  if (is_folder) return list(entry.path);
  entry.size = static_cast<std::uint64_t>(before_.st_size);
  path_ = entry.path;
  content_.emplace(file_.get(), 0, entry.size);
  return {};
}

Result<> FolderEntries::describe(TarEntry& entry, const struct stat& status) const {
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.mtime = status.st_mtim.tv_sec;
  if (entry.mtime < 0) return refuse(entry.path, "its time is before 1970", "touch it");
  if (unmapped_ && (entry.uid == unmapped_->uid || entry.gid == unmapped_->gid)) {
    return refuse(entry.path, "it belongs to nobody, or to somebody who has no id in your images", kArchive);
  }
  return {};
}

// Puts what is in a folder in front of all that waits.
Result<> FolderEntries::list(const std::string& path) {
  const sys::Folder folder = sys::folder_of(std::move(file_));
  if (folder == nullptr) return unreachable(path);
  const auto first = static_cast<std::ptrdiff_t>(waiting_.size());
  while (const dirent* entry = sys::next_entry(folder)) {
    if (++listed_ > limits_.entries)
      return refuse(path, "more than " + std::to_string(limits_.entries) + " entries", "make a smaller image");
    waiting_.push_back(path.empty() ? entry->d_name : path + "/" + entry->d_name);
  }
  if (errno != 0) return unreachable(path);
  std::sort(waiting_.begin() + first, waiting_.end(), std::greater());
  return {};
}

Result<std::size_t> FolderEntries::read(MutableBytes into) {
  if (!content_) return std::size_t{0};
  WEIR_TRY(const std::size_t got, content_->read(into));
  if (got > 0) return got;
  struct stat now{};
  if (::fstat(file_.get(), &now) != 0) return unreachable(path_);
  if (!is_unchanged(before_, now)) return changed(path_);
  return std::size_t{0};
}

}  // namespace weir::image
