// The part of a take-over that changes something.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "changes/contents.h"
#include "changes/owner_rights.h"
#include "changes/remove_tree.h"
#include "changes/take_over.h"
#include "sys/errno.h"
#include "sys/folder.h"
#include "sys/open_resolved.h"

namespace weir::changes {
namespace {

using Kind = LayerChange::Kind;
using Type = LayerChange::Type;

constexpr std::uint64_t kHere = sys::kBeneath | RESOLVE_NO_XDEV;
constexpr timespec kEver{};

Result<> changed_just_now() {
  return fail("changed here at this moment; nothing was done");
}

bool is_folder(const Print& print) {
  return !print.digest.empty() && S_ISDIR(print.status.st_mode);
}

// Where root applies to a folder of root's, what is replaced keeps its owner. Elsewhere what is made is the owner's of
// the shared folder already.
Result<> keep_owner(int fd, const Print& print) {
  if (::geteuid() != 0 || print.digest.empty() || !S_ISREG(print.status.st_mode)) return {};
  if (::fchown(fd, print.status.st_uid, print.status.st_gid) != 0)
    return sys::errno_error("cannot give it to its owner");
  return {};
}

}  // namespace

std::string TakeOver::temporary_name() {
  return prefix_ + std::to_string(++temporaries_);
}

// What a run that was ended has left in the folder, once.
void TakeOver::clean(const sys::OwnedFd& parent, const Place& place) {
  if (!cleaned_.insert(place).second) return;
  const sys::Folder open = sys::folder_of(sys::open_resolved(parent.get(), "", O_RDONLY | O_DIRECTORY, kHere));
  std::vector<std::string> names;
  while (const dirent* next = open ? sys::next_entry(open) : nullptr) {
    if (std::string_view(next->d_name).starts_with(prefix_)) names.emplace_back(next->d_name);
  }
  for (const std::string& name : names) remove_tree(parent, name);
}

// A file is put in place later.
Result<> TakeOver::carry_out(const KeptEntry& entry, const Root& root, Target target) {
  if (entry.change.kind == Kind::deleted) return remove(target);
  if (entry.change.type == Type::folder) return make_folder(entry, target);
  const std::string temporary = temporary_name();
  const bool is_link = entry.change.type == Type::link;
  Result<> done;
  if (!is_link) {
    done = make_file(entry, root, target, temporary);
  } else if (::symlinkat(entry.change.link_target.c_str(), target.parent.get(), temporary.c_str()) != 0) {
    done = sys::errno_error("cannot make the link");
  }
  if (done && is_link) done = put(target, entry, temporary);
  if (!done) {
    ::unlinkat(target.parent.get(), temporary.c_str(), 0);
    return done;
  }
  if (!is_link) waiting_.push_back({outlooks_.size() - 1, std::move(target), temporary});
  return {};
}

void TakeOver::put_waiting() {
  int synced = -1;
  for (const Waiting& each : waiting_) {
    Outlook& outlook = outlooks_[each.outlook];
    const KeptEntry& entry = manifest_.entries[outlook.entry];
    const Root& root = roots_[entry.share];
    const OwnerRights rights(root.uid, root.gid);
    Result<> done;
    // One share after the other: each has one file system.
    if (synced != static_cast<int>(entry.share)) {
      synced = static_cast<int>(entry.share);
      const sys::OwnedFd folder = sys::open_resolved(root.folder.get(), "", O_RDONLY | O_DIRECTORY, kHere);
      if (!folder.valid() || ::syncfs(folder.get()) != 0) {
        done = sys::errno_error("cannot write it");
        synced = -1;
      }
    }
    if (done) done = put(each.target, entry, each.temporary);
    if (done) continue;
    ::unlinkat(each.target.parent.get(), each.temporary.c_str(), 0);
    outlook.state = Outlook::State::failed;
    outlook.reasons = {done.error().what()};
  }
  waiting_.clear();
}

Result<> TakeOver::make_file(const KeptEntry& entry, const Root& root, const Target& target,
                             const std::string& temporary) {
  const sys::OwnedFd file =
      sys::open_resolved(target.parent.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, kHere, S_IRUSR | S_IWUSR);
  if (!file.valid()) return sys::errno_error("cannot write beside it");
  const std::uint64_t bytes = entry.change.bytes;
  WEIR_CHECK_OK(copy_content({.fd = contents_.get(), .offset = entry.offset}, {.fd = file.get(), .offset = 0}, bytes));
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return sys::errno_error("cannot write it");
  if (root.uid == 0) WEIR_CHECK_OK(keep_owner(file.get(), target.print));
  if (::fchmod(file.get(), mode_of(entry, target.print)) != 0) return sys::errno_error("cannot set its mode");
  return {};
}

// In place of exactly what was looked at.
Result<> TakeOver::put(const Target& target, const KeptEntry& entry, const std::string& temporary) {
  const int parent = target.parent.get();
  WEIR_TRY(const Print now, print_of(target.parent, target.name, entry.change.path, kEver));
  if (now.digest != target.print.digest) return changed_just_now();
  if (is_folder(target.print)) WEIR_CHECK_OK(remove(target));
  const bool replaces = !target.print.digest.empty() && !is_folder(target.print);
  if (replaces) {
    if (::renameat(parent, temporary.c_str(), parent, target.name.c_str()) == 0) return {};
    return sys::errno_error("cannot put it in place");
  }
  if (::renameat2(parent, temporary.c_str(), parent, target.name.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) return changed_just_now();
  // A file system that does not know the flag.
  if (errno == EINVAL && ::renameat(parent, temporary.c_str(), parent, target.name.c_str()) == 0) return {};
  return sys::errno_error("cannot put it in place");
}

// A folder that its owner cannot write to could not be filled; so it stays open to them.
Result<> TakeOver::make_folder(const KeptEntry& entry, const Target& target) {
  if (!target.print.digest.empty()) WEIR_CHECK_OK(remove(target));
  const int parent = target.parent.get();
  if (::mkdirat(parent, target.name.c_str(), S_IRWXU) != 0) return sys::errno_error("cannot make the folder");
  const sys::OwnedFd folder = sys::open_resolved(parent, target.name, O_RDONLY | O_DIRECTORY, kHere);
  if (!folder.valid()) return sys::errno_error("cannot open the folder");
  if (::fchmod(folder.get(), (entry.change.mode & 0777 & ~umask_) | S_IRWXU) != 0)
    return sys::errno_error("cannot set the mode of the folder");
  return {};
}

// A folder goes as a whole, by its name, and then what was in it.
Result<> TakeOver::remove(const Target& target) {
  if (target.print.digest.empty()) return {};
  const int parent = target.parent.get();
  if (!is_folder(target.print)) {
    if (::unlinkat(parent, target.name.c_str(), 0) != 0) return sys::errno_error("cannot remove it");
    return {};
  }
  const std::string aside = temporary_name();
  if (::renameat2(parent, target.name.c_str(), parent, aside.c_str(), RENAME_NOREPLACE) != 0 &&
      (errno != EINVAL || ::renameat(parent, target.name.c_str(), parent, aside.c_str()) != 0))
    return sys::errno_error("cannot set the folder aside");
  if (!remove_tree(target.parent, aside)) return fail("what was in the folder is left in " + aside);
  return {};
}

void TakeOver::sync_folders() {
  for (const auto& [share, path] : cleaned_) {
    const sys::OwnedFd folder = sys::open_resolved(roots_[share].folder.get(), path, O_RDONLY | O_DIRECTORY, kHere);
    if (folder.valid()) ::fsync(folder.get());
  }
}

}  // namespace weir::changes
