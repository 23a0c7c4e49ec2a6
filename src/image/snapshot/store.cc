#include "image/snapshot/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/sha256.h"
#include "image/confined.h"
#include "image/store_folder.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::image {
namespace {

constexpr std::string_view kDescriptionEnd = ".json";
constexpr const char* kNew = ".new-";
constexpr const char* kOld = ".old-";
constexpr const char* kUnnamed = ".json-";

std::unexpected<Error> no_such_snapshot(std::string_view which) {
  return std::unexpected(
      Error("there is no snapshot '" + std::string(which) + "'", ENOENT).with_remedy("weir snapshot ls lists them"));
}

std::unexpected<Error> name_is_taken(const std::string& name) {
  return std::unexpected(Error("there is a snapshot '" + name + "' already", EEXIST)
                             .with_remedy("choose another name, or weir snapshot rm " + name));
}

Result<> write_file(const std::string& path, std::string_view text) {
  WEIR_TRY(const sys::OwnedFd fd,
           sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600),
                           "cannot make " + path));
  return sys::write_whole(fd, path, as_bytes(text));
}

// Without holding it in memory.
Result<std::string> digest_of(const sys::OwnedFd& file, const std::string& path) {
  Sha256 hash;
  std::vector<std::uint8_t> buffer(1 << 18);
  for (off_t at = 0;;) {
    const ssize_t got = ::pread(file.get(), buffer.data(), buffer.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::errno_error("cannot read " + path);
    if (got == 0) return hash.finish();
    hash.update(Bytes(buffer).first(static_cast<std::size_t>(got)));
    at += got;
  }
}

bool is_named(const std::string& path, const sys::OwnedFd& held) {
  struct stat one{};
  struct stat other{};
  return ::fstat(held.get(), &one) == 0 && ::lstat(path.c_str(), &other) == 0 && one.st_ino == other.st_ino;
}

Result<> check_fits(const Snapshot& below, const std::string& digest) {
  if (below.layers.size() == kMaxSnapshotLayers) {
    return std::unexpected(Error("the session lies on " + std::to_string(kMaxSnapshotLayers) + " layers already")
                               .with_remedy("begin a new session and copy the files that count into it"));
  }
  // An overlay cannot have the same folder twice.
  if (std::ranges::find(below.layers, digest, &SnapshotLayer::digest) == below.layers.end()) return {};
  return std::unexpected(Error("what was written is exactly what a layer further below holds")
                             .with_remedy("write another file inside, and try again"));
}

}  // namespace

std::vector<std::string> SnapshotLease::layers() const {
  std::vector<std::string> folders;
  for (const SnapshotLayer& layer : snapshot_.layers) folders.push_back(folder_ + "/layers/" + layer.digest + "/tree");
  return folders;
}

Result<Snapshots> Snapshots::open(const std::string& folder) {
  WEIR_CHECK_OK(sys::make_folders(folder + "/layers"));
  WEIR_CHECK_OK(prepare_store_folder(folder));
  WEIR_TRY(Ids ids, ids_of_caller());
  return Snapshots(folder, std::move(ids));
}

// Removes a folder that nobody else uses: the caller holds its lock.
Result<> Snapshots::discard(const std::string& folder) const {
  const std::string tree = folder + "/tree";
  const auto text = sys::read_file(folder + "/ids", 256);
  if (::access(tree.c_str(), F_OK) == 0) {
    WEIR_TRY(const Ids ids, text ? ids_of_stored(*text, ids_) : Result<Ids>(ids_));
    WEIR_CHECK_OK(in_context(empty_confined(tree, ids), "cannot remove " + folder));
  }
  for (const char* name : {"/manifest", "/ids"}) ::unlink((folder + name).c_str());
  for (const std::string& path : {tree, folder}) {
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return sys::errno_error("cannot remove " + path);
  }
  return {};
}

// With the lock of the store: leftovers of processes that were killed. One that cannot be removed stops nothing else.
Result<> Snapshots::sweep() {
  WEIR_CHECK_OK(sweep_abandoned());
  WEIR_CHECK_OK(sweep_layers());
  WEIR_TRY(const std::vector<std::string> names, names_in(folder_));
  for (const std::string& name : names) {
    if (name.starts_with(kUnnamed)) ::unlink((folder_ + "/" + name).c_str());
    if (!name.starts_with(kNew) && !name.starts_with(kOld)) continue;
    const std::string folder = folder_ + "/" + name;
    const auto lock = open_folder(folder);
    if (!lock || !lock_alone(*lock)) continue;
    if (const auto gone = discard(folder); !gone)
      leftovers_.push_back("a leftover stays: " + gone.error().what() + "; when nothing uses it, sudo rm -r " + folder +
                           " removes it");
  }
  return {};
}

// Descriptions of sessions that slept and are no more. A folder of sessions that is not there at all may come back.
Result<> Snapshots::sweep_abandoned() const {
  const auto all = read_all();
  if (!all) return {};
  for (const Snapshot& snapshot : all->readable) {
    const std::filesystem::path keeper = snapshot.kept_by;
    if (keeper.empty() || ::access(keeper.c_str(), F_OK) == 0 || errno != ENOENT) continue;
    if (::access(keeper.parent_path().parent_path().c_str(), F_OK) != 0) continue;
    const std::string path = description_of(snapshot.id);
    const sys::OwnedFd lock(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!lock.valid() || !lock_alone(lock)) continue;
    if (::unlink(path.c_str()) != 0) return sys::errno_error("cannot remove " + path);
  }
  return {};
}

// Layers that no snapshot names get a name that is swept. One description that cannot be read might name any of them:
// then all of them stay.
Result<> Snapshots::sweep_layers() {
  const auto all = read_all();
  if (!all || !all->broken.empty()) return {};
  std::set<std::string> named;
  for (const Snapshot& snapshot : all->readable) {
    for (const SnapshotLayer& layer : snapshot.layers) named.insert(layer.digest);
  }
  WEIR_TRY(const std::vector<std::string> digests, names_in(folder_ + "/layers"));
  for (const std::string& digest : digests) {
    if (named.contains(digest)) continue;
    WEIR_TRY(const std::string id, random_hex(8));
    if (::rename(layer_folder(digest).c_str(), (folder_ + "/" + kOld + id).c_str()) != 0)
      return sys::errno_error("cannot remove the layer " + digest);
  }
  return {};
}

Result<Snapshots::All> Snapshots::read_all() const {
  WEIR_TRY(const std::vector<std::string> names, names_in(folder_));
  All all;
  for (const std::string& name : names) {
    if (name.starts_with('.') || !name.ends_with(kDescriptionEnd)) continue;
    const std::string id = name.substr(0, name.size() - kDescriptionEnd.size());
    auto snapshot = read_one(id);
    // Removed between the two looks.
    if (!snapshot && snapshot.error().code() == ENOENT) continue;
    // Out of descriptors or memory nothing is known about it.
    if (!snapshot && sys::is_exhaustion(snapshot.error().code())) return std::unexpected(snapshot.error());
    if (snapshot) {
      all.readable.push_back(std::move(*snapshot));
    } else {
      all.broken.push_back({.id = id, .why = snapshot.error().what()});
    }
  }
  std::ranges::sort(all.readable, {}, [](const Snapshot& each) { return std::pair(each.created, each.id); });
  std::ranges::sort(all.broken, {}, &BrokenSnapshot::id);
  return all;
}

Result<Snapshot> Snapshots::read_one(const std::string& id) const {
  const std::string path = description_of(id);
  WEIR_TRY(const std::string text, sys::read_file(path, kMaxSnapshotText));
  WEIR_TRY(Snapshot snapshot, in_context(parse_snapshot(text), path));
  if (snapshot.id != id) return fail(path + ": of another snapshot");
  return snapshot;
}

Result<Snapshots::Begun> Snapshots::begin(const Ids& ids) {
  WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
  WEIR_CHECK_OK(sweep());
  WEIR_TRY(const std::string id, random_hex(8));
  Begun begun{.folder = folder_ + "/" + kNew + id, .lock = {}, .manifest = {}};
  if (::mkdir(begun.folder.c_str(), 0700) != 0) return sys::errno_error("cannot make " + begun.folder);
  WEIR_TRY(begun.lock, open_folder(begun.folder));
  if (!lock_alone(begun.lock)) return sys::errno_error("cannot lock " + begun.folder);
  WEIR_CHECK_OK(write_file(begun.folder + "/ids", ids.text()));
  const std::string tree = begun.folder + "/tree";
  if (::mkdir(tree.c_str(), 0755) != 0) return sys::errno_error("cannot make " + tree);
  const std::string manifest = begun.folder + "/manifest";
  WEIR_TRY(begun.manifest, sys::checked_fd(::open(manifest.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
                                           "cannot make " + manifest));
  return begun;
}

// What was made gets its name: of what is written down, not of what the process that wrote it says.
Result<> Snapshots::seal(Begun& begun, const LayerTally& tally) const {
  WEIR_TRY(begun.layer.digest, digest_of(begun.manifest, begun.folder + "/manifest"));
  begun.layer.entries = tally.entries;
  begun.layer.bytes = tally.bytes;
  // Files before the name: a machine that stops shows the whole layer or none.
  if (::syncfs(begun.manifest.get()) != 0) return sys::errno_error("cannot write the layer");
  return {};
}

// The lock stays with the folder under its new name until it is given back.
Result<> Snapshots::put_layer(Begun& begun) const {
  const std::string place = layer_folder(begun.layer.digest);
  if (::renameat2(AT_FDCWD, begun.folder.c_str(), AT_FDCWD, place.c_str(), RENAME_NOREPLACE) == 0) {
    begun.folder.clear();
    return {};
  }
  return errno == EEXIST ? Result<>() : sys::errno_error("cannot name the layer " + begun.layer.digest);
}

Result<> Snapshots::put_description(Snapshot& snapshot) const {
  WEIR_TRY(const All all, read_all());
  if (!snapshot.name.empty() && std::ranges::find(all.readable, snapshot.name, &Snapshot::name) != all.readable.end())
    return name_is_taken(snapshot.name);
  if (snapshot.id.empty()) {
    WEIR_TRY(const std::string id, random_hex(4));
    snapshot.id = "s-" + id;
  }
  snapshot.created = now_text();
  const std::string path = description_of(snapshot.id);
  const std::string unnamed = folder_ + "/" + kUnnamed + snapshot.id;
  ::unlink(unnamed.c_str());
  const std::string text = snapshot_json(snapshot) + "\n";
  // One that cannot be read would stand in the way of all others.
  WEIR_CHECK_OK(in_context(parse_snapshot(text), "the description of the snapshot"));
  WEIR_CHECK_OK(write_file(unnamed, text));
  WEIR_TRY(const sys::OwnedFd folder, open_folder(folder_));
  if (::syncfs(folder.get()) != 0 ||
      ::renameat2(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0)
    return sys::errno_error("cannot write " + path);
  return {};
}

// Layers and description at once: nobody sweeps in between.
Result<> Snapshots::commit(std::vector<Begun>& begun, Snapshot& snapshot) {
  Result<> done;
  {
    WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
    for (Begun& each : begun) {
      if (done) done = put_layer(each);
    }
    if (done) done = put_description(snapshot);
    if (!done) WEIR_CHECK_OK(sweep_layers());
  }
  for (const Begun& each : begun) {
    // What cannot be removed now is swept the next time.
    if (!each.folder.empty()) static_cast<void>(discard(each.folder));
  }
  return done;
}

Result<Snapshots::Created> Snapshots::create(const WrittenTree& tree, const Ids& ids, Snapshot about, Limits limits) {
  if (!about.name.empty() && show(about.name)) return name_is_taken(about.name);
  // Nothing is copied that could not be kept.
  const bool is_full = about.layers.size() >= kMaxSnapshotLayers;
  if (is_full) limits.bytes = 0;
  std::vector<Begun> layers;
  WEIR_TRY(Begun begun, begin(ids));
  const auto work = [&](const Source& source, sys::OwnedFd root, int output) -> Result<std::string> {
    WrittenTree seen = tree;
    seen.folder = source.fd.get();
    WEIR_TRY(const LayerTally tally, write_layer(seen, std::move(root), ids.owners(), output, limits));
    return encode(tally);
  };
  const auto text = work_confined({.folder = tree.folder}, begun.folder + "/tree", ids, begun.manifest.get(), work);
  auto tally = text ? decode_layer_tally(*text) : Result<LayerTally>(std::unexpected(text.error()));
  if (!tally) {
    static_cast<void>(discard(begun.folder));
    if (is_full) WEIR_CHECK_OK(check_fits(about, ""));
    return std::unexpected(std::move(tally).error().context("cannot keep what was written"));
  }
  WEIR_CHECK_OK(seal(begun, *tally));
  const bool nothing_new =
      tally->entries == 0 || (!about.layers.empty() && about.layers.front().digest == begun.layer.digest);
  if (const auto fits = nothing_new ? Result<>() : check_fits(about, begun.layer.digest); !fits || nothing_new) {
    static_cast<void>(discard(begun.folder));
    WEIR_CHECK_OK(fits);
  } else {
    about.layers.insert(about.layers.begin(), begun.layer);
    layers.push_back(std::move(begun));
  }
  WEIR_CHECK_OK(commit(layers, about));
  return Created{.snapshot = std::move(about), .left_out = tally->left_out};
}

Result<Snapshots::All> Snapshots::list() {
  WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
  WEIR_CHECK_OK(sweep());
  WEIR_TRY(All all, read_all());
  std::erase_if(all.readable, [](const Snapshot& each) { return !each.kept_by.empty(); });
  return all;
}

Result<Snapshot> Snapshots::show(std::string_view which) const {
  if (!is_snapshot_id(which) && !is_snapshot_name(which)) return no_such_snapshot(which);
  if (is_snapshot_id(which)) {
    auto snapshot = read_one(std::string(which));
    if (!snapshot && snapshot.error().code() == ENOENT) return no_such_snapshot(which);
    return snapshot;
  }
  WEIR_TRY(const All all, read_all());
  const auto found = std::ranges::find(all.readable, which, &Snapshot::name);
  if (found == all.readable.end()) return no_such_snapshot(which);
  return *found;
}

Result<SnapshotLease> Snapshots::use(std::string_view which) const {
  WEIR_TRY(Snapshot snapshot, show(which));
  const std::string path = description_of(snapshot.id);
  sys::OwnedFd lock(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!lock.valid() && errno == ENOENT) return no_such_snapshot(which);
  if (!lock.valid()) return sys::errno_error("cannot open " + path);
  if (::flock(lock.get(), LOCK_SH | LOCK_NB) != 0)
    return fail("snapshot '" + std::string(which) + "' is being removed", EBUSY);
  // Between opening and locking it may have been removed.
  if (!is_named(path, lock)) return no_such_snapshot(which);
  for (const SnapshotLayer& layer : snapshot.layers) {
    WEIR_TRY(const std::string ids, sys::read_file(layer_folder(layer.digest) + "/ids", 256));
    if (ids == "one" ? ids_.kind != Ids::Kind::root : ids == ids_.text()) continue;
    return std::unexpected(Error("snapshot '" + std::string(which) + "' was made with other user ids (" + ids +
                                 ") than you have now (" + ids_.text() + ")")
                               .with_remedy("weir snapshot export it where it was made, and import it again"));
  }
  return SnapshotLease(folder_, std::move(snapshot), std::move(lock));
}

// One that cannot be read has nothing but its id.
Result<Snapshot> Snapshots::readable_or_broken(std::string_view which) const {
  auto snapshot = show(which);
  if (snapshot || !is_snapshot_id(which)) return snapshot;
  const int code = snapshot.error().code();
  if (code == ENOENT || sys::is_exhaustion(code)) return snapshot;
  return Snapshot{.id = std::string(which)};
}

Result<Snapshot> Snapshots::remove(std::string_view which) {
  Snapshot snapshot;
  {
    WEIR_TRY(const sys::OwnedFd store, lock_store(folder_));
    WEIR_TRY(snapshot, readable_or_broken(which));
    if (!snapshot.kept_by.empty()) {
      return std::unexpected(
          Error("snapshot '" + std::string(which) + "' is what session " + snapshot.session + " sleeps in", EBUSY)
              .with_remedy("remove the session: weir session rm " + snapshot.session));
    }
    const std::string path = description_of(snapshot.id);
    WEIR_TRY(const sys::OwnedFd lock,
             sys::checked_fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC), "cannot open " + path));
    if (!lock_alone(lock)) {
      return std::unexpected(Error("snapshot '" + std::string(which) + "' is used by a running sandbox", EBUSY)
                                 .with_remedy("end the sandbox first"));
    }
    if (::unlink(path.c_str()) != 0) return sys::errno_error("cannot remove " + path);
    // What only this one had goes with it.
    WEIR_CHECK_OK(sweep());
  }
  return snapshot;
}

}  // namespace weir::image
