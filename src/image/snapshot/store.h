// Snapshots by id and name, below one folder that only their owner can enter.
//
//   ID.json              what is known about it (snapshot.h), put in place last
//   layers/DIGEST/       a layer, never written again: manifest, tree (its files), ids (whose they are on the host)
//   .new-X, .old-X       being made, being removed: held by a lock on the folder, which the kernel lets go of however
//                        its process ends; whoever finds one without a lock removes it, and so layers of no snapshot
//
// Layers are named by what they hold, so many snapshots have them in common. A sandbox that uses a snapshot holds a
// shared lock on its ID.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/ids.h"
#include "image/snapshot/layer_writer.h"
#include "image/snapshot/snapshot.h"
#include "sys/owned_fd.h"

namespace weir::image {

// A snapshot that stays as it is while this object lives.
class SnapshotLease {
 public:
  const Snapshot& snapshot() const { return snapshot_; }
  // Absolute paths of its layers' files, top first.
  std::vector<std::string> layers() const;

 private:
  friend class Snapshots;
  SnapshotLease(std::string folder, Snapshot snapshot, sys::OwnedFd lock)
      : folder_(std::move(folder)), snapshot_(std::move(snapshot)), lock_(std::move(lock)) {}

  std::string folder_;
  Snapshot snapshot_;
  sys::OwnedFd lock_;
};

// One whose description cannot be read. It may name any layer, so all of them stay until it is removed.
struct BrokenSnapshot {
  std::string id;
  std::string why;
};

class Snapshots {
 public:
  struct All {
    std::vector<Snapshot> readable = {};      // by time
    std::vector<BrokenSnapshot> broken = {};  // by id
  };
  // Makes the folder where it is missing. An error when somebody else than the caller could write into it.
  static Result<Snapshots> open(const std::string& folder);

  struct Created {
    Snapshot snapshot;
    LeftOut left_out;
  };
  // What a sandbox has written becomes a layer over `about.layers`, whose snapshot is in use meanwhile; nothing
  // written, no layer. As a whole or not at all. An id is drawn where `about` has none. `ids`: the sandbox's user
  // namespace. Blocks as long as the copy takes; what is inside stands still meanwhile. EEXIST: the name is taken.
  Result<Created> create(const WrittenTree& tree, const Ids& ids, Snapshot about, Limits limits = kLayerLimits);
  // Sweeps first. Without those that sleeping sessions consist of. One broken description stands in the way of no
  // other.
  Result<All> list();
  // ENOENT: there is no such snapshot. `which`: an id or a name.
  Result<Snapshot> show(std::string_view which) const;
  Result<SnapshotLease> use(std::string_view which) const;
  // With the layers that no other one has. EBUSY: a sandbox uses it, or a session sleeps in it. One that is broken
  // goes, too, by its id.
  Result<Snapshot> remove(std::string_view which);

  // An archive (snapshot/archive.h) to a descriptor, which may be a pipe.
  Result<Snapshot> write_archive(std::string_view which, int to) const;
  // What an archive becomes here. With an id it has the name that stands here, or none; else, where none stands here,
  // the one that it had, and an id is drawn.
  struct NewNames {
    std::string id = {};
    std::string name = {};
  };
  // `file`: absolute, links resolved.
  Result<Snapshot> read_archive(const std::string& file, const NewNames& names);

  // What the calls above met that cannot be removed, one sentence each. It is in nobody's way.
  const std::vector<std::string>& leftovers() const { return leftovers_; }

 private:
  Snapshots(std::string folder, Ids ids) : folder_(std::move(folder)), ids_(std::move(ids)) {}
  // A folder that is being filled; its lock is held.
  struct Begun {
    std::string folder;
    sys::OwnedFd lock;
    sys::OwnedFd manifest;
    SnapshotLayer layer = {};
  };
  Result<Begun> begin(const Ids& ids);
  Result<> read_layer_into(const std::string& file, const Snapshot& snapshot, std::size_t number, const Ids& ids,
                           std::vector<Begun>& layers);
  Result<> seal(Begun& begun, const LayerTally& tally) const;
  Result<> commit(std::vector<Begun>& begun, Snapshot& snapshot);
  Result<> put_layer(Begun& begun) const;
  Result<> put_description(Snapshot& snapshot) const;
  Result<All> read_all() const;
  Result<Snapshot> readable_or_broken(std::string_view which) const;
  Result<Snapshot> read_one(const std::string& id) const;
  Result<> discard(const std::string& folder) const;
  Result<> sweep();
  Result<> sweep_layers();
  Result<> sweep_abandoned() const;
  std::string description_of(const std::string& id) const { return folder_ + "/" + id + ".json"; }
  std::string layer_folder(const std::string& digest) const { return folder_ + "/layers/" + digest; }

  std::string folder_;
  Ids ids_;
  std::vector<std::string> leftovers_;
};

}  // namespace weir::image
