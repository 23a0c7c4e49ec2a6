#include "sandbox/files/archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "changes/remove_tree.h"
#include "sandbox/files/folder_walk.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"
#include "wire/tar.h"
#include "wire/tar_writer.h"

namespace weir::sandbox {
namespace {

using wire::TarEntry;

constexpr std::size_t kBuffer = 256 * 1024;
constexpr std::uint32_t kPermissions = 0777;
// OCI image specification, layers: whiteouts.
constexpr std::string_view kMark = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
// No archive of changes has a file of that name.
constexpr std::string_view kUnfinished = ".wh..weir-unfinished";

std::unexpected<Error> refuse(const std::string& path, const std::string& why, int code) {
  return fail("entry " + wire::quoted_path(path) + ": " + why, code);
}
// After a call that failed.
std::unexpected<Error> broken(const std::string& path, const std::string& what) {
  const int code = errno;
  return refuse(path, what + ": " + sys::errno_text(code), code);
}

class Writer {
 public:
  explicit Writer(const sys::OwnedFd& to) : to_(to) {}

  Result<> take(const Found& found) {
    TarEntry entry;
    entry.mode = found.status.st_mode & 07777;
    entry.uid = found.status.st_uid;
    entry.gid = found.status.st_gid;
    entry.mtime = std::max<std::int64_t>(found.status.st_mtim.tv_sec, 0);
    WEIR_TRY(entry.path, wire::canonical_tar_path(found.path));
    switch (found.status.st_mode & S_IFMT) {
      case S_IFDIR:
        entry.type = TarEntry::Type::folder;
        return write(wire::tar_headers(entry));
      case S_IFLNK: {
        const auto target = sys::link_target(found.parent, found.name);
        if (!target)
          return errno == ENOENT || errno == EINVAL ? Result<>() : broken(entry.path, "cannot read the link");
        entry.type = TarEntry::Type::symbolic_link;
        entry.link = *target;
        return write(wire::tar_headers(entry));
      }
      case S_IFREG:
        return file(std::move(entry), found);
      default:
        return {};
    }
  }

  Result<> end() { return write(wire::tar_end()); }

 private:
  Result<> write(std::string_view bytes) { return sys::write_whole(to_, "the archive", as_bytes(bytes)); }

  Result<> file(TarEntry entry, const Found& found) {
    const sys::OwnedFd file =
        sys::open_resolved(found.parent, found.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, sys::kBeneath);
    struct stat status{};
    if (!file.valid() && (errno == ENOENT || errno == ELOOP)) return {};  // gone, or a link by now
    if (!file.valid() || ::fstat(file.get(), &status) != 0) return broken(entry.path, "cannot read it");
    if (!S_ISREG(status.st_mode)) return {};
    if (status.st_nlink > 1 && linked_.size() < kMaxArchiveEntries) {
      const auto [first, is_new] = linked_.try_emplace({status.st_dev, status.st_ino}, entry.path);
      if (!is_new) {
        entry.type = TarEntry::Type::hard_link;
        entry.link = first->second;
        return write(wire::tar_headers(entry));
      }
    }
    entry.size = static_cast<std::uint64_t>(status.st_size);
    WEIR_CHECK_OK(write(wire::tar_headers(entry)));
    WEIR_CHECK_OK(content(file, entry));
    return write(wire::tar_padding(entry.size));
  }

  Result<> content(const sys::OwnedFd& file, const TarEntry& entry) {
    for (std::uint64_t left = entry.size; left > 0;) {
      const ssize_t got = ::read(file.get(), buffer_.data(), std::min<std::uint64_t>(left, buffer_.size()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return broken(entry.path, "cannot read it");
      if (got == 0) return refuse(entry.path, "it became shorter while it was read", EAGAIN);
      WEIR_CHECK_OK(sys::write_whole(to_, "the archive", Bytes(buffer_).first(static_cast<std::size_t>(got))));
      left -= static_cast<std::uint64_t>(got);
    }
    return {};
  }

  const sys::OwnedFd& to_;
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(kBuffer);
  // Files with several names: the first one met.
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
};

class PipeStream : public wire::ByteStream {
 public:
  explicit PipeStream(const sys::OwnedFd& fd) : fd_(fd) {}
  Result<std::size_t> read(MutableBytes into) override {
    while (true) {
      const ssize_t got = ::read(fd_.get(), into.data(), into.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return sys::errno_error("cannot read the archive");
    }
  }

 private:
  const sys::OwnedFd& fd_;
};

class Reader {
 public:
  Reader(const sys::OwnedFd& root, Archive kind)
      : root_(root),
        kind_(kind),
        within_(kind == Archive::of_changes ? sys::kBeneath | RESOLVE_NO_XDEV : sys::kBeneath) {}

  Result<> take(const TarEntry& entry, wire::ByteStream& content) {
    if (++entries_ > kMaxArchiveEntries)
      return refuse(entry.path, "more than " + std::to_string(kMaxArchiveEntries) + " entries", E2BIG);
    if (entry.path.empty()) return {};  // the folder itself is there
    const std::size_t slash = entry.path.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : entry.path.substr(0, slash);
    WEIR_TRY(const sys::OwnedFd parent, folder_at(folder, entry.path));
    const std::string name = entry.path.substr(slash + 1);
    if (kind_ == Archive::of_changes && name.starts_with(kMark)) return unmake(entry.path, parent, name);
    return make({.entry = entry, .parent = parent, .name = entry.path.substr(slash + 1)}, content);
  }

  // Now that nothing more goes into them.
  Result<> finish() {
    for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) {
      const sys::OwnedFd there = sys::open_resolved(root_.get(), folder->path, O_PATH | O_DIRECTORY, within_);
      if (!there.valid()) return broken(folder->path, "cannot open it again");
      if (!folder->made && !is_own(there)) continue;
      const sys::OwnedFd open(::openat(there.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!open.valid()) return broken(folder->path, "cannot open it again");
      WEIR_CHECK_OK(dress(open, folder->path, folder->mode, folder->mtime));
    }
    return {};
  }

 private:
  struct Making {
    const TarEntry& entry;
    const sys::OwnedFd& parent;
    std::string name;
  };
  struct Folder {
    std::string path;
    std::uint32_t mode;
    std::int64_t mtime;
    bool made;  // it was not there
  };

  // Folders that no entry spoke of are made on the way.
  Result<sys::OwnedFd> folder_at(const std::string& path, const std::string& entry) {
    sys::OwnedFd folder = sys::open_resolved(root_.get(), path, O_PATH | O_DIRECTORY, within_);
    if (folder.valid()) return folder;
    if (errno == ELOOP || errno == ENOTDIR)
      return refuse(entry, "its folder is a link or a file in the sandbox", errno);
    if (errno != ENOENT || path.empty()) return broken(entry, "cannot open its folder");
    const std::size_t slash = path.rfind('/');
    WEIR_TRY(const sys::OwnedFd parent, folder_at(slash == std::string::npos ? "" : path.substr(0, slash), entry));
    const std::string name = path.substr(slash + 1);
    if (::mkdirat(parent.get(), name.c_str(), 0755) != 0 && errno != EEXIST)
      return broken(entry, "cannot make its folder");
    folder = sys::open_resolved(parent.get(), name, O_PATH | O_DIRECTORY, within_);
    if (!folder.valid()) return broken(entry, "cannot open its folder");
    return folder;
  }

  Result<> make(const Making& making, wire::ByteStream& content) {
    using enum TarEntry::Type;
    const TarEntry& entry = making.entry;
    switch (entry.type) {
      case folder:
        return make_folder(making);
      case file:
        return make_file(making, content);
      case hard_link:
        return make_hard_link(making);
      case symbolic_link:
        WEIR_CHECK_OK(make_room(making));
        if (::symlinkat(entry.link.c_str(), making.parent.get(), making.name.c_str()) != 0)
          return broken(entry.path, "cannot make the link");
        return {};
      case character_device:
      case block_device:
      case fifo:
        break;
    }
    return refuse(entry.path, "a device or a named pipe", EINVAL);
  }

  // What only weir's own root may change (/tmp, /) stays as it is.
  bool is_own(const sys::OwnedFd& folder) const {
    struct stat status{};
    return kind_ == Archive::of_files || (::fstat(folder.get(), &status) == 0 && status.st_uid == ::geteuid());
  }

  static Result<> remove(const sys::OwnedFd& parent, const std::string& name, const std::string& path) {
    struct stat there{};
    if (::fstatat(parent.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) return {};
    if (!changes::remove_tree(parent, name))
      return refuse(path, "not all of what is in its place can be removed", EPERM);
    return {};
  }

  // A mark: of a name that is gone, or of a folder in which nothing is left of what was there.
  Result<> unmake(const std::string& path, const sys::OwnedFd& parent, const std::string& name) {
    if (name != kOpaque) return remove(parent, name.substr(kMark.size()), path);
    std::vector<std::string> names;
    WEIR_TRY(sys::OwnedFd open, sys::checked_fd(::openat(parent.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                                "cannot empty the folder of " + wire::quoted_path(path)));
    const sys::Folder folder = sys::folder_of(std::move(open));
    if (folder == nullptr) return broken(path, "cannot list its folder");
    while (const dirent* entry = sys::next_entry(folder)) names.emplace_back(entry->d_name);
    for (const std::string& each : names) WEIR_CHECK_OK(remove(parent, each, path));
    return {};
  }

  Result<> make_room(const Making& making) const {
    if (kind_ == Archive::of_changes) return remove(making.parent, making.name, making.entry.path);
    if (::unlinkat(making.parent.get(), making.name.c_str(), 0) == 0 || errno == ENOENT) return {};
    if (errno == EISDIR) return refuse(making.entry.path, "there is a folder of that name", EISDIR);
    return broken(making.entry.path, "cannot remove what is in its place");
  }

  Result<> make_folder(const Making& making) {
    struct stat there{};
    const int parent = making.parent.get();
    const bool is_there = ::fstatat(parent, making.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there && !S_ISDIR(there.st_mode)) WEIR_CHECK_OK(make_room(making));
    const bool made = ::mkdirat(parent, making.name.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return broken(making.entry.path, "cannot make the folder");
    // What goes into it was written before it was closed to its owner. finish() gives it the mode that it has by now.
    const bool is_closed =
        !made && kind_ == Archive::of_changes && there.st_uid == ::geteuid() && (there.st_mode & S_IRWXU) != S_IRWXU;
    if (is_closed &&
        ::fchmodat(parent, making.name.c_str(), (there.st_mode & kPermissions) | S_IRWXU, AT_SYMLINK_NOFOLLOW) != 0)
      return broken(making.entry.path, "cannot open the folder to its owner");
    folders_.push_back(
        {.path = making.entry.path, .mode = making.entry.mode, .mtime = making.entry.mtime, .made = made});
    return {};
  }

  Result<> make_file(const Making& making, wire::ByteStream& content) {
    const TarEntry& entry = making.entry;
    const bool whole = kind_ == Archive::of_changes;
    const std::string name = whole ? std::string(kUnfinished) : making.name;
    if (whole) {
      ::unlinkat(making.parent.get(), name.c_str(), 0);
    } else {
      WEIR_CHECK_OK(make_room(making));
    }
    const sys::OwnedFd file =
        sys::open_resolved(making.parent.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, within_, 0600);
    if (!file.valid()) return broken(entry.path, "cannot make the file");
    auto made = fill(file, entry, content);
    if (made && whole) made = put_in_place(making, name);
    if (!made && whole) ::unlinkat(making.parent.get(), name.c_str(), 0);
    return made;
  }

  Result<> fill(const sys::OwnedFd& file, const TarEntry& entry, wire::ByteStream& content) {
    while (true) {
      WEIR_TRY(const std::size_t got, content.read(buffer_));
      if (got == 0) break;
      const Bytes part = Bytes(buffer_).first(got);
      if (kind_ == Archive::of_changes && is_zero(part)) {
        if (::lseek(file.get(), static_cast<off_t>(got), SEEK_CUR) < 0) return broken(entry.path, "cannot write it");
      } else {
        WEIR_CHECK_OK(sys::write_whole(file, "entry " + wire::quoted_path(entry.path), part));
      }
    }
    if (kind_ == Archive::of_changes && ::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0)
      return broken(entry.path, "cannot set its size");
    return dress(file, entry.path, entry.mode, entry.mtime);
  }

  // A hole where it was written: it is one here as well, and no memory.
  static bool is_zero(Bytes part) {
    return part.front() == 0 && std::memcmp(part.data(), part.data() + 1, part.size() - 1) == 0;
  }

  Result<> put_in_place(const Making& making, const std::string& unfinished) const {
    struct stat there{};
    const int parent = making.parent.get();
    const bool is_folder =
        ::fstatat(parent, making.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode);
    if (is_folder) WEIR_CHECK_OK(make_room(making));
    if (::renameat(parent, unfinished.c_str(), parent, making.name.c_str()) != 0)
      return broken(making.entry.path, "cannot put it in place");
    return {};
  }

  // To a regular file that is below the folder, not through a link.
  Result<> make_hard_link(const Making& making) {
    const TarEntry& entry = making.entry;
    const std::size_t slash = entry.link.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : entry.link.substr(0, slash);
    const std::string name = entry.link.substr(slash + 1);
    const sys::OwnedFd from = sys::open_resolved(root_.get(), folder, O_PATH | O_DIRECTORY, within_);
    struct stat status{};
    if (name.empty() || !from.valid() || ::fstatat(from.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(status.st_mode))
      return refuse(entry.path, "a hard link to what is no file in this folder", EINVAL);
    WEIR_CHECK_OK(make_room(making));
    if (::linkat(from.get(), name.c_str(), making.parent.get(), making.name.c_str(), 0) != 0)
      return broken(entry.path, "cannot make the hard link");
    return {};
  }

  Result<> dress(const sys::OwnedFd& made, const std::string& path, std::uint32_t mode, std::int64_t mtime) const {
    const std::uint32_t kept = kind_ == Archive::of_changes ? kPermissions | S_ISVTX : kPermissions;
    if (::fchmod(made.get(), mode & kept) != 0) return broken(path, "cannot set its mode");
    const std::array<timespec, 2> times = {timespec{.tv_sec = mtime, .tv_nsec = 0},
                                           timespec{.tv_sec = mtime, .tv_nsec = 0}};
    if (::futimens(made.get(), times.data()) != 0) return broken(path, "cannot set its time");
    return {};
  }

  const sys::OwnedFd& root_;
  Archive kind_;
  std::uint64_t within_;
  std::size_t entries_ = 0;
  std::vector<Folder> folders_;
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(kBuffer);
};

}  // namespace

Result<> write_archive(const sys::OwnedFd& folder, const sys::OwnedFd& to) {
  Writer writer(to);
  WEIR_CHECK_OK(walk_folder(folder, Depth::everything, [&](const Found& found) { return writer.take(found); }));
  return writer.end();
}

Result<> read_archive(const sys::OwnedFd& from, const sys::OwnedFd& folder, Archive kind) {
  PipeStream stream(from);
  wire::TarReader archive(stream);
  Reader reader(folder, kind);
  while (true) {
    WEIR_TRY(const auto entry, archive.next());
    if (!entry) return reader.finish();
    WEIR_CHECK_OK(reader.take(*entry, archive));
  }
}

}  // namespace weir::sandbox
