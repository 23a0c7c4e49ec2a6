#include "changes/keep.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/path.h"
#include "changes/contents.h"
#include "changes/fingerprint.h"
#include "changes/store.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/mounts.h"
#include "sys/open_resolved.h"

namespace weir::changes {
namespace {

// Holes need whole pages to stay holes; small files have none worth keeping.
constexpr std::uint64_t kPage = 4096;

}  // namespace

Result<Keeper> Keeper::prepare(const std::string& folder, Manifest about) {
  WEIR_CHECK_OK(sys::make_folders(folder));
  const Places places(folder, about.sandbox);
  WEIR_TRY(sys::OwnedFd data,
           sys::checked_fd(::open(places.contents.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600),
                           "cannot keep changes in " + places.contents));
  hold(data);
  WEIR_TRY(sys::PendingFile file, sys::PendingFile::prepare(places.manifest));
  return Keeper(folder, std::move(about), std::move(file), std::move(data));
}

Result<> Keeper::add(const sys::OwnedFd& layer, const std::string& source, const timespec& since) {
  WEIR_TRY(const sys::OwnedFd below, in_context(sys::open_without_links(source), "cannot keep changes of " + source));
  struct stat status{};
  if (::fstat(below.get(), &status) != 0) return sys::errno_error("cannot look at " + source);
  const auto share = static_cast<std::uint32_t>(manifest_.shares.size());
  manifest_.shares.push_back({.source = source, .inode = status.st_ino});
  LayerChanges found = changes_of(layer, source, kKeptBounds);
  manifest_.left_out += found.left_out;
  const sys::OwnedFd nothing;
  std::string fresh;  // a folder below which nothing of the old is left
  for (LayerChange& change : found.changes) {
    if (manifest_.entries.size() == kMaxEntries) {
      ++manifest_.left_out;
      continue;
    }
    KeptEntry entry{.share = share, .change = std::move(change)};
    const bool is_fresh = !fresh.empty() && is_at_or_below(fresh, entry.change.path);
    const bool hides =
        entry.change.type == LayerChange::Type::folder && entry.change.kind != LayerChange::Kind::changed;
    if (hides && !is_fresh) fresh = entry.change.path;
    if (const auto kept = keep(layer, is_fresh ? nothing : below, since, entry); !kept)
      entry.not_kept = kept.error().what();
    // Gone below as well by now.
    if (entry.change.kind == LayerChange::Kind::deleted && entry.before.empty() && entry.not_kept.empty()) continue;
    manifest_.entries.push_back(std::move(entry));
  }
  return {};
}

// `below`: not valid where nothing can be.
Result<> Keeper::keep(const sys::OwnedFd& layer, const sys::OwnedFd& below, const timespec& since, KeptEntry& entry) {
  const LayerChange& change = entry.change;
  if (change.kind == LayerChange::Kind::unreadable) return fail("cannot be looked into, or is nested too deeply");
  if (below.valid()) {
    const sys::OwnedFd parent = open_parent(below, change.path);
    if (parent.valid()) {
      WEIR_TRY(const Print print,
               in_context(print_of(parent, name_in(change.path), change.path, since), "what is there"));
      entry.before = print.digest;
      entry.changed_meanwhile = print.newer;
    }
  }
  const bool has_content = change.type == LayerChange::Type::file && change.kind != LayerChange::Kind::deleted;
  return has_content ? keep_content(layer, entry) : Result<>();
}

Result<> Keeper::keep_content(const sys::OwnedFd& layer, KeptEntry& entry) {
  const std::uint64_t bytes = entry.change.bytes;
  const std::uint64_t place = bytes < kPage ? size_ : (size_ + kPage - 1) / kPage * kPage;
  if (place > kMaxKeptBytes || bytes > kMaxKeptBytes - place)
    return fail("too large: changes of more than " + std::to_string(kMaxKeptBytes >> 20) + " MiB are not kept");
  const sys::OwnedFd file = sys::open_resolved(layer.get(), entry.change.path, O_RDONLY | O_NONBLOCK | O_NOCTTY,
                                               sys::kBeneath | RESOLVE_NO_XDEV);
  if (!file.valid()) return sys::errno_error("cannot be read");
  struct stat status{};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != bytes)
    return fail("is not what it was a moment ago");
  if (auto copied = copy_content({.fd = file.get(), .offset = 0}, {.fd = data_.get(), .offset = place}, bytes);
      !copied) {
    // Holes of the next one must not be filled with what is there now.
    if (::ftruncate(data_.get(), static_cast<off_t>(size_)) != 0) return sys::errno_error("cannot keep the changes");
    return copied;
  }
  entry.offset = place;
  size_ = place + bytes;
  return {};
}

Result<Manifest> Keeper::finish() {
  if (manifest_.shares.empty()) {  // it never came to a layer
    ::unlink(Places(folder_, manifest_.sandbox).contents.c_str());
    return std::move(manifest_);
  }
  if (::ftruncate(data_.get(), static_cast<off_t>(size_)) != 0 || ::fsync(data_.get()) != 0)
    return sys::errno_error("cannot keep the changes");
  WEIR_CHECK_OK(file_.write(as_bytes(manifest_text(manifest_))));
  data_ = {};
  sweep_store(folder_, ::time(nullptr));
  return std::move(manifest_);
}

}  // namespace weir::changes
