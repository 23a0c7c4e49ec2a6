// Images by name, below one folder that only their owner can enter.
//
//   NAME/description     what is known about it (description.h)
//   NAME/rootfs          its files, never written again
//   .new-ID, .old-ID     being imported, being removed, unpacked for one run: held by a lock on the folder, which the
//   .run-ID              kernel lets go of however its process ends; whoever finds one without a lock removes it
//
// A running sandbox holds a shared lock on NAME.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/description.h"
#include "image/ids.h"
#include "image/unpack.h"
#include "sys/owned_fd.h"

namespace weir::image {

// An image that stays as it is while this object lives.
class Lease {
 public:
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&&) = delete;
  // Removes what was unpacked for one run. What cannot be removed now is swept later.
  ~Lease();

  // In a parent whose child lives on with what it has inherited: nothing is removed here any more.
  void release() { temporary_.clear(); }

  const Description& description() const { return description_; }
  // Absolute path of the root file system.
  const std::string& root() const { return root_; }
  const Ids& ids() const { return ids_; }

 private:
  friend class Store;
  Lease(const std::string& folder, Description description, Ids ids, sys::OwnedFd lock);

  std::string root_;
  Description description_;
  Ids ids_;
  sys::OwnedFd lock_;
  std::string temporary_;  // the folder to remove at the end; empty: the store keeps it
};

class Store {
 public:
  // Makes the folder and those above it where they are missing. An error when somebody else than the caller could write
  // into it.
  static Result<Store> open(const std::string& folder);

  // `source`: absolute, links resolved: what `kind` says. As a whole or not at all.
  Result<Description> import(const std::string& source, Source::Kind kind, const std::string& name);
  // Sweeps first.
  Result<std::vector<Description>> list();
  // An error while a sandbox uses it.
  Result<> remove(const std::string& name);

  // ENOENT: there is no such image.
  Result<Lease> use(const std::string& name) const;
  // Unpacks an archive or a layout for this run only.
  Result<Lease> unpack_once(const std::string& source, Source::Kind kind);

  // What the calls above met that cannot be removed, one sentence each. It is in nobody's way.
  const std::vector<std::string>& leftovers() const { return leftovers_; }

 private:
  Store(std::string folder, Ids ids) : folder_(std::move(folder)), ids_(std::move(ids)) {}
  struct Begun;
  Result<Begun> begin(const char* prefix);
  Result<Description> unpack_into(const Begun& begun, const std::string& source, Source::Kind kind,
                                  const std::string& name);
  Result<Ids> ids_of(const std::string& folder) const;
  Result<> discard(const std::string& folder) const;
  Result<> sweep();

  std::string folder_;
  Ids ids_;
  std::vector<std::string> leftovers_;
};

// 1-63 of [A-Za-z0-9_.:-], the first a letter or a digit: never a path.
bool is_image_name(std::string_view name);

}  // namespace weir::image
