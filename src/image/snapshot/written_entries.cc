#include "image/snapshot/written_entries.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

#include "base/path.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"
#include "wire/layer_manifest.h"

namespace weir::image {
namespace {

using wire::TarEntry;

constexpr std::uint64_t kWithin = sys::kBeneath | RESOLVE_NO_XDEV;

std::unexpected<Error> cannot_read(const std::string& path) {
  const int code = errno;
  return std::unexpected(Error(wire::quoted_path(path) + ": cannot be read: " + sys::errno_text(code), code)
                             .with_remedy("remove it inside, or end what changes it, and try again"));
}

std::unexpected<Error> too_much(const std::string& path, const std::string& what) {
  return std::unexpected(Error(wire::quoted_path(path) + ": " + what).with_remedy("remove what is not needed inside"));
}

bool is_same(const timespec& one, const timespec& other) {
  return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

bool is_whiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == ::makedev(0, 0);
}

bool is_opaque(const sys::OwnedFd& folder) {
  char mark = 0;
  return ::fgetxattr(folder.get(), "user.overlay.opaque", &mark, 1) == 1 && mark == 'y';
}

// A mark in archives, which a file of that name would be taken for; nothing of one's own is called so.
bool is_mark(const std::string& name) {
  return name.starts_with(".wh.");
}

std::string joined(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}
std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

struct BaselineWalk {
  Baseline found = {};

  Result<> folder(int above, const std::string& path) {
    const sys::Folder entries = sys::folder_of(sys::open_resolved(above, path, O_RDONLY | O_DIRECTORY, kWithin));
    const int cause = entries == nullptr ? errno : 0;
    // With ids of /etc/subuid a folder may be closed to the supervisor; then weir has put nothing into it.
    if (cause == EACCES) return {};
    if (cause != 0) return sys::errno_error("cannot look at what weir has made in /" + path);
    while (const dirent* entry = sys::next_entry(entries)) {
      const std::string below = joined(path, entry->d_name);
      struct stat status{};
      if (::fstatat(::dirfd(entries.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return sys::errno_error("cannot look at what weir has made at /" + below);
      if (found.made_.size() == kMaxBaseline) return fail("too many files are there before the first command");
      found.made_[status.st_ino] = status.st_ctim;
      if (S_ISDIR(status.st_mode) && !wire::is_of_running_sandbox(below)) WEIR_CHECK_OK(folder(above, below));
    }
    return {};
  }
};

Result<Baseline> Baseline::of(int folder) {
  BaselineWalk walk;
  WEIR_CHECK_OK(walk.folder(folder, ""));
  return std::move(walk.found);
}

// Of a folder the number says it all: what is put into it is no change of the folder.
bool Baseline::has(const struct stat& status) const {
  const auto found = made_.find(status.st_ino);
  return found != made_.end() && (S_ISDIR(status.st_mode) || is_same(found->second, status.st_ctim));
}

std::vector<std::string> remarks(const LeftOut& left_out) {
  std::vector<std::string> lines;
  const auto say = [&](std::uint64_t count, const char* what) {
    if (count > 0) lines.push_back(std::to_string(count) + what);
  };
  say(left_out.sockets, " sockets, pipes or devices left out: they lead to what runs, and that is not kept");
  say(left_out.names, " names left out: too long, nested too deeply, or beginning with .wh.");
  say(left_out.set_id_bits, " files kept without their set-id bits, which nothing in a sandbox heeds");
  return lines;
}

sys::OwnedFd WrittenEntries::open(const std::string& path, int flags) const {
  return sys::open_resolved(tree_.folder, path, flags | O_NOFOLLOW, kWithin);
}

bool WrittenEntries::is_shared(const std::string& path) const {
  return std::ranges::any_of(tree_.shared,
                             [&](const std::string& shared) { return is_at_or_below(shared, "/" + path); });
}

Result<std::optional<TarEntry>> WrittenEntries::next() {
  content_.reset();
  while (ready_.empty()) {
    if (waiting_.empty()) return std::optional<Entry>();
    const std::string path = std::move(waiting_.back());
    waiting_.pop_back();
    WEIR_TRY(auto entry, look(path));
    if (entry) put(std::move(*entry));
  }
  Entry entry = std::move(ready_.back());
  ready_.pop_back();
  if (entry.type == Entry::Type::file && file_.valid() && entry.path == path_)
    content_.emplace(file_.get(), 0, entry.size);
  return entry;
}

// After the folders that lead to it and were not given yet.
void WrittenEntries::put(Entry entry) {
  std::erase_if(folders_, [&](const Entry& folder) { return !is_at_or_below(folder.path, entry.path); });
  ready_.push_back(std::move(entry));
  ready_.insert(ready_.end(), std::make_move_iterator(folders_.rbegin()), std::make_move_iterator(folders_.rend()));
  folders_.clear();
}

Result<std::optional<TarEntry>> WrittenEntries::look(const std::string& path) {
  Entry entry;
  entry.path = path;
  if (path.empty()) {
    WEIR_CHECK_OK(list(open("", O_RDONLY | O_DIRECTORY), ""));
    return std::nullopt;
  }
  if (wire::is_of_running_sandbox(path) || is_shared(path)) return std::nullopt;
  const std::string name = name_of(path);
  if (const auto plain = wire::canonical_tar_path(path); is_mark(name) || !plain || *plain != path) {
    ++left_out_.names;
    return std::nullopt;
  }
  const sys::OwnedFd found = open(path, O_PATH);
  struct stat status{};
  if (!found.valid() || ::fstat(found.get(), &status) != 0) return cannot_read(path);
  if (is_whiteout(status) && tree_.kind == WrittenTree::Kind::upper) {
    entry.path = joined(parent_of(path), ".wh." + name);
    return entry;
  }
  describe(entry, status);
  if (S_ISDIR(status.st_mode)) return look_at_folder(std::move(entry));
  if (tree_.baseline.has(status)) return std::nullopt;
  if (S_ISREG(status.st_mode)) return look_at_file(std::move(entry), status);
  if (!S_ISLNK(status.st_mode)) {
    ++left_out_.sockets;
    return std::nullopt;
  }
  entry.type = Entry::Type::symbolic_link;
  auto target = sys::link_target(found.get(), "");
  if (!target) return cannot_read(path);
  entry.link = std::move(*target);
  entry.mode = 0777;
  return entry;
}

Result<std::optional<TarEntry>> WrittenEntries::look_at_folder(Entry entry) {
  entry.type = Entry::Type::folder;
  sys::OwnedFd folder = open(entry.path, O_RDONLY | O_DIRECTORY);
  struct stat status{};
  if (!folder.valid() || ::fstat(folder.get(), &status) != 0) return cannot_read(entry.path);
  const bool opaque = tree_.kind == WrittenTree::Kind::upper && is_opaque(folder);
  const bool own = tree_.baseline.has(status);
  const std::string path = entry.path;
  WEIR_CHECK_OK(list(std::move(folder), path));
  if (own && !opaque) {
    std::erase_if(folders_, [&](const Entry& before) { return !is_at_or_below(before.path, path); });
    folders_.push_back(std::move(entry));
    return std::nullopt;
  }
  if (!opaque) return entry;
  put(std::move(entry));
  Entry mark;
  mark.path = joined(path, ".wh..wh..opq");
  // put() gives the folder first, then this: it lies below what is given next.
  ready_.insert(ready_.begin(), std::move(mark));
  return std::nullopt;
}

Result<std::optional<TarEntry>> WrittenEntries::look_at_file(Entry entry, const struct stat& seen) {
  file_ = open(entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file_.valid() || ::fstat(file_.get(), &before_) != 0) return cannot_read(entry.path);
  if (before_.st_ino != seen.st_ino || !S_ISREG(before_.st_mode)) {
    errno = EAGAIN;
    return cannot_read(entry.path);
  }
  if (before_.st_nlink > 1) {
    const auto [first, is_new] = linked_.try_emplace({before_.st_dev, before_.st_ino}, entry.path);
    if (!is_new) {
      entry.type = Entry::Type::hard_link;
      entry.link = first->second;
      return entry;
    }
  }
  entry.size = static_cast<std::uint64_t>(before_.st_size);
  path_ = entry.path;
  return entry;
}

void WrittenEntries::describe(Entry& entry, const struct stat& status) {
  const bool folder = S_ISDIR(status.st_mode);
  if (S_ISREG(status.st_mode) && (status.st_mode & (S_ISUID | S_ISGID)) != 0) ++left_out_.set_id_bits;
  entry.mode = status.st_mode & (folder ? 03777 : 01777);
  entry.uid = tree_.one_owner ? tree_.one_owner->uid : status.st_uid;
  entry.gid = tree_.one_owner ? tree_.one_owner->gid : status.st_gid;
  entry.mtime = std::max<std::int64_t>(status.st_mtim.tv_sec, 0);
}

// Puts what is in a folder in front of all that waits.
Result<> WrittenEntries::list(sys::OwnedFd opened, const std::string& path) {
  const sys::Folder folder = sys::folder_of(std::move(opened));
  if (folder == nullptr) return cannot_read(path);
  const auto first = static_cast<std::ptrdiff_t>(waiting_.size());
  while (const dirent* entry = sys::next_entry(folder)) {
    if (++listed_ > limits_.entries)
      return too_much(path, "more than " + std::to_string(limits_.entries) + " files and folders");
    waiting_.push_back(joined(path, entry->d_name));
  }
  if (errno != 0) return cannot_read(path);
  std::sort(waiting_.begin() + first, waiting_.end(), std::greater());
  return {};
}

Result<std::size_t> WrittenEntries::read(MutableBytes into) {
  if (!content_) return std::size_t{0};
  WEIR_TRY(const std::size_t got, content_->read(into));
  if (got > 0) return got;
  struct stat now{};
  if (::fstat(file_.get(), &now) != 0 || now.st_size != before_.st_size || !is_same(now.st_mtim, before_.st_mtim)) {
    errno = EAGAIN;
    return cannot_read(path_);
  }
  return std::size_t{0};
}

}  // namespace weir::image
