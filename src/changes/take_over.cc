#include "changes/take_over.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/path.h"
#include "changes/contents.h"
#include "changes/owner_rights.h"
#include "changes/run_outside.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::changes {
namespace {

using Kind = LayerChange::Kind;
using Type = LayerChange::Type;
using State = Outlook::State;

constexpr std::string_view kTemporary = ".weir-apply-";
constexpr std::uint64_t kHere = sys::kBeneath | RESOLVE_NO_XDEV;
constexpr std::uint32_t kPermissions = 0777;
// Each holds a descriptor of the folder that it belongs in.
constexpr std::size_t kMostWaiting = 256;

std::string folder_of_path(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

// A folder of which nothing was there, or nothing is left.
bool is_new_folder(const LayerChange& change) {
  return change.type == Type::folder && (change.kind == Kind::added || change.kind == Kind::replaced);
}

// What nobody may insist on; empty: nothing.
std::string forbidden(const KeptEntry& entry) {
  const LayerChange& change = entry.change;
  if (!entry.not_kept.empty()) return "not kept: " + entry.not_kept;
  if (change.kind == Kind::unreadable) return "not kept";
  if (change.type == Type::other) return "neither a file nor a folder nor a link: such things are not made";
  const std::size_t own = change.path.find(kTemporary);
  if (own == 0 || (own != std::string::npos && change.path[own - 1] == '/')) return "the name is one of weir's own";
  return "";
}

std::string why_not_reached(int code) {
  switch (code) {
    case ENOENT:
      return "the folder that it belongs in is not there";
    case ELOOP:
    case ENOTDIR:
      return "a link or a file stands where its folder was";
    case EXDEV:
      return "another file system begins on the way to it";
    default:
      return "its folder cannot be reached: " + sys::errno_text(code);
  }
}

// Leads out through what is there now.
bool leads_out(const sys::OwnedFd& root, const std::string& path, const std::string& target) {
  const std::string folder = folder_of_path(path);
  const std::string whole = folder.empty() ? target : folder + "/" + target;
  const sys::OwnedFd end = sys::open_resolved(root.get(), whole, O_PATH, RESOLVE_BENEATH);
  return !end.valid() && (errno == EXDEV || errno == ELOOP);
}

std::uint32_t current_umask() {
  const mode_t mask = ::umask(077);
  ::umask(mask);
  return mask;
}

}  // namespace

bool stays_within(std::string_view path, std::string_view target) {
  if (target.empty() || target.starts_with('/')) return false;
  auto above = std::ranges::count(path, '/');
  bool climbing = true;
  while (true) {
    const std::string_view part = target.substr(0, target.find('/'));
    if (part == "..") {
      if (!climbing || above-- == 0) return false;
    } else if (!part.empty() && part != ".") {
      climbing = false;
    }
    if (part.size() == target.size()) return true;
    target.remove_prefix(part.size() + 1);
  }
}

TakeOver::TakeOver(const Manifest& manifest, const sys::OwnedFd& contents, Mode mode, std::set<Place> insisted)
    : manifest_(manifest),
      contents_(contents),
      mode_(mode),
      insisted_(std::move(insisted)),
      prefix_(std::string(kTemporary) + manifest.sandbox + "-"),
      umask_(current_umask()) {
  open_roots();
}

void TakeOver::open_roots() {
  for (const KeptShare& share : manifest_.shares) {
    Root& root = roots_.emplace_back();
    auto folder = sys::open_without_links(share.source);
    struct stat status{};
    if (!folder) {
      root.missing = folder.error().what();
    } else if (::fstat(folder->get(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_ino != share.inode) {
      root.missing = share.source + " is not the folder that was shared";
    } else {
      root.folder = std::move(*folder);
      root.uid = status.st_uid;
      root.gid = status.st_gid;
    }
  }
}

bool TakeOver::is_wanted(const KeptEntry& entry, const std::vector<Place>& wanted) const {
  if (wanted.empty()) return true;
  return std::ranges::any_of(wanted, [&](const Place& place) {
    const auto& [share, path] = place;
    if (share != entry.share) return false;
    if (path.empty() || is_at_or_below(path, entry.change.path)) return true;
    return entry.change.type == Type::folder && entry.change.kind == Kind::added &&
           is_at_or_below(entry.change.path, path);
  });
}

std::vector<Outlook> TakeOver::run(const std::vector<Place>& wanted) {
  // Links last: what the others make is then there, and says where a link leads.
  for (const auto links : {false, true}) {
    for (std::size_t i = 0; i < manifest_.entries.size(); ++i) {
      const KeptEntry& entry = manifest_.entries[i];
      const bool is_link = entry.change.type == Type::link && entry.change.kind != Kind::deleted;
      if (is_link == links && is_wanted(entry, wanted)) take(i);
    }
    put_waiting();
  }
  sync_folders();
  std::ranges::sort(outlooks_, {}, &Outlook::entry);
  return std::move(outlooks_);
}

void TakeOver::take(std::size_t number) {
  const KeptEntry& entry = manifest_.entries[number];
  Outlook& outlook = outlooks_.emplace_back(Outlook{.entry = number});
  const Root& root = roots_[entry.share];
  {
    const OwnerRights rights(root.uid, root.gid);
    consider(entry, root, outlook);
  }
  const bool stays_away = outlook.state == State::refused || outlook.state == State::failed;
  if (stays_away && entry.change.type == Type::folder) blocked_.insert({entry.share, entry.change.path});
  if (waiting_.size() >= kMostWaiting) put_waiting();
}

void TakeOver::consider(const KeptEntry& entry, const Root& root, Outlook& outlook) {
  const auto refuse = [&](std::string why) {
    outlook.state = State::refused;
    outlook.reasons = {std::move(why)};
  };
  if (!root.folder.valid()) return refuse(root.missing);
  if (std::string why = forbidden(entry); !why.empty()) return refuse(std::move(why));
  if (blocked_.contains({entry.share, folder_of_path(entry.change.path)}))
    return refuse("the folder that it belongs in is not taken over");
  Target target;
  if (auto found = find_target(entry, root, target); !found) {
    if (entry.change.kind != Kind::deleted || found.error().code() != ENOENT) return refuse(found.error().what());
    outlook.state = State::already;
    return;
  }
  const auto there = is_there(entry, target);
  if (!there) return refuse(there.error().what());
  if (*there) {
    outlook.state = State::already;
    return;
  }
  judge(entry, root, target, outlook);
  outlook.insistable = !outlook.reasons.empty();
  if (outlook.insistable && !insisted_.contains({entry.share, entry.change.path})) {
    outlook.state = State::refused;
    return;
  }
  if (mode_ == Mode::look) {
    if (is_new_folder(entry.change)) made_.insert({entry.share, entry.change.path});
    return;
  }
  const auto done = carry_out(entry, root, std::move(target));
  outlook.state = done ? State::applied : State::failed;
  if (!done) outlook.reasons = {done.error().what()};
}

Result<> TakeOver::find_target(const KeptEntry& entry, const Root& root, Target& target) {
  const std::string& path = entry.change.path;
  target.name = name_in(path);
  if (made_.contains({entry.share, folder_of_path(path)})) return {};
  target.parent = open_parent(root.folder, path);
  if (!target.parent.valid()) {
    const int code = errno;
    return fail(why_not_reached(code), code);
  }
  if (mode_ == Mode::apply) clean(target.parent, {entry.share, folder_of_path(path)});
  // Of a folder that is only to be there, it does not matter what is in it.
  struct stat& status = target.print.status;
  if (entry.change.type == Type::folder && entry.change.kind == Kind::added &&
      ::fstatat(target.parent.get(), target.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(status.st_mode)) {
    target.print.digest = "a folder";
    return {};
  }
  constexpr timespec kEver{};
  WEIR_TRY(target.print, in_context(print_of(target.parent, target.name, path, kEver), "what is there"));
  return {};
}

// A second run has nothing to do.
Result<bool> TakeOver::is_there(const KeptEntry& entry, const Target& target) const {
  const LayerChange& change = entry.change;
  const bool something = !target.print.digest.empty();
  if (change.kind == Kind::deleted) return !something;
  if (!something) return false;
  const mode_t type = target.print.status.st_mode & S_IFMT;
  if (change.type == Type::folder) {
    if (type != S_IFDIR) return false;
    return change.kind == Kind::added ? Result<bool>(true) : holds_only_kept(entry, target);
  }
  if (change.type == Type::link) {
    return type == S_IFLNK && sys::link_target(target.parent.get(), target.name) == change.link_target;
  }
  return type == S_IFREG ? file_is_there(entry, target) : Result<bool>(false);
}

Result<bool> TakeOver::file_is_there(const KeptEntry& entry, const Target& target) const {
  const struct stat& status = target.print.status;
  if (static_cast<std::uint64_t>(status.st_size) != entry.change.bytes) return false;
  if ((status.st_mode & kPermissions) != mode_of(entry, target.print)) return false;
  const sys::OwnedFd file =
      sys::open_resolved(target.parent.get(), target.name, O_RDONLY | O_NONBLOCK | O_NOCTTY, kHere);
  if (!file.valid()) return sys::errno_error("what is there cannot be read");
  return same_content({.fd = file.get(), .offset = 0}, {.fd = contents_.get(), .offset = entry.offset},
                      entry.change.bytes);
}

const KeptEntry* TakeOver::kept_at(const Place& place) const {
  const auto key = [](const KeptEntry& each) { return Place{each.share, each.change.path}; };
  const auto kept = std::ranges::lower_bound(manifest_.entries, place, {}, key);
  return kept == manifest_.entries.end() || key(*kept) != place ? nullptr : &*kept;
}

// The folder that replaced another has been put there, as it seems: nothing of the old one is in it.
Result<bool> TakeOver::holds_only_kept(const KeptEntry& entry, const Target& target) const {
  const sys::Folder open =
      sys::folder_of(sys::open_resolved(target.parent.get(), target.name, O_RDONLY | O_DIRECTORY, kHere));
  if (!open) return sys::errno_error("what is there cannot be listed");
  while (const dirent* next = sys::next_entry(open)) {
    if (kept_at({entry.share, entry.change.path + "/" + next->d_name}) == nullptr) return false;
  }
  // As it was before the run: that it holds nothing else says nothing then.
  return target.print.digest != entry.before;
}

// A folder with a HEAD, here or among the changes, may be a repository whose settings and hooks lie next to it.
bool TakeOver::is_of_bare_repository(const KeptEntry& entry, const Root& root) const {
  const std::string& path = entry.change.path;
  for (std::size_t begin = 0; begin != std::string::npos && begin < path.size();) {
    const std::size_t end = path.find('/', begin);
    const std::string_view name = std::string_view(path).substr(begin, end == std::string::npos ? end : end - begin);
    if (is_protected_in_bare(name) && has_head(entry.share, path.substr(0, begin), root)) return true;
    begin = end == std::string::npos ? end : end + 1;
  }
  return false;
}

// `folder`: "" or with a slash at its end.
bool TakeOver::has_head(std::uint32_t share, const std::string& folder, const Root& root) const {
  const std::string head = folder + kBareHead;
  const KeptEntry* const kept = kept_at({share, head});
  if (kept != nullptr && kept->change.kind != Kind::deleted) return true;
  return sys::open_resolved(root.folder.get(), head, O_PATH, kHere).valid();
}

void TakeOver::judge(const KeptEntry& entry, const Root& root, const Target& target, Outlook& outlook) const {
  const LayerChange& change = entry.change;
  const bool something = !target.print.digest.empty();
  // A replaced folder may have been set aside by a run that was ended.
  const bool set_aside = change.kind == Kind::replaced && !something;
  outlook.conflict = entry.changed_meanwhile || (target.print.digest != entry.before && !set_aside);
  if (entry.changed_meanwhile) {
    outlook.reasons.emplace_back("changed here while the run went on");
  } else if (outlook.conflict) {
    outlook.reasons.emplace_back(entry.before.empty() ? "something else has come here since the run"
                                 : something          ? "changed here since the run"
                                                      : "gone from here since the run");
  }
  const bool is_folder = change.type == Type::folder || change.kind == Kind::deleted;
  const bool in_place = would_be_run_outside(change.path, is_folder ? Stands::folder : Stands::no_folder) ||
                        lies_in_protected(manifest_.shares[entry.share].source + "/" + change.path);
  if (in_place || is_of_bare_repository(entry, root)) {
    outlook.reasons.emplace_back("would be run outside by itself");
  } else if (!target.print.guarded.empty()) {
    outlook.reasons.push_back("would remove what is run outside by itself: " + target.print.guarded);
  }
  if (change.type == Type::link &&
      (!stays_within(change.path, change.link_target) || leads_out(root.folder, change.path, change.link_target)))
    outlook.reasons.push_back("leads out of the folder: " + change.link_target);
  if (change.type == Type::file && (change.mode & 07000 & ~static_cast<std::uint32_t>(S_ISVTX)) != 0)
    outlook.note = "without its set-id bits";
}

// What the guest may say about rights: less than there are, or what the caller gives to new files anyway.
std::uint32_t TakeOver::mode_of(const KeptEntry& entry, const Print& print) const {
  const std::uint32_t there =
      !print.digest.empty() && S_ISREG(print.status.st_mode) ? print.status.st_mode & kPermissions : 0;
  return entry.change.mode & kPermissions & (there | ~umask_);
}

}  // namespace weir::changes
