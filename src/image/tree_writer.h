// Entries of archives become files below one folder, and nowhere else.
//
// Every parent is opened with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so nothing is made through a link of an earlier
// entry. What a sandbox could not use is refused; what it would ignore is left out and counted.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>

#include "base/error.h"
#include "image/limits.h"
#include "sys/owned_fd.h"
#include "wire/tar.h"

namespace weir::image {

// Whose files can be made: those of every id from 0 to 65535, or of one user only.
enum class Owners : std::uint8_t { all, one };

// What was done, for the person who imports.
struct Tally {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  // Left out, because a sandbox ignores it (no_new_privs, nosuid, a /dev of weir's own) or has one user only.
  std::uint64_t set_id_bits = 0;
  std::uint64_t file_capabilities = 0;
  std::uint64_t device_nodes = 0;
  std::uint64_t other_owners = 0;
};

class TreeWriter {
 public:
  // An archive that is a whole tree has no whiteouts; a layer may have them. Kept, they become the marks of an overlay
  // (overlayfs.rst, "whiteouts and opaque directories"), for a layer that will lie over others.
  enum class Whiteouts : std::uint8_t { refused, applied, kept };

  TreeWriter(sys::OwnedFd root, Owners owners, Limits limits = {})
      : root_(std::move(root)), owners_(owners), limits_(limits) {}

  // Applies one archive (or other source) on top of what is there. What an earlier layer made may be replaced; within
  // one archive only folders may come twice.
  Result<> apply(wire::EntrySource& archive, Whiteouts whiteouts);

  const Tally& tally() const { return tally_; }

 private:
  struct Place {
    sys::OwnedFd parent;
    std::string name;
  };

  Result<> entry(const wire::TarEntry& entry, wire::ByteStream& content, Whiteouts whiteouts);
  Result<> count(const wire::TarEntry& entry);
  Result<> whiteout(const wire::TarEntry& entry, const std::string& folder, const std::string& name);
  Result<> keep_whiteout(const wire::TarEntry& entry, const std::string& folder, const std::string& name);
  Result<bool> left_out(const wire::TarEntry& entry);
  Result<Place> place_of(const std::string& path);
  Result<sys::OwnedFd> open_folder(const std::string& path);
  // Whether the archive that is applied now spoke of the same name before.
  enum class Before : std::uint8_t { this_archive, another };
  Result<> make_room(const Place& place, const wire::TarEntry& entry, Before before);
  Result<> make(const Place& place, const wire::TarEntry& entry, wire::ByteStream& content);
  Result<> make_file(const Place& place, const wire::TarEntry& entry, wire::ByteStream& content);
  Result<> make_hard_link(const Place& place, const wire::TarEntry& entry);
  Result<> set_attributes(int fd, const wire::TarEntry& entry);
  Result<> set_owner_and_mode(int fd, const wire::TarEntry& entry);

  sys::OwnedFd root_;
  Owners owners_;
  Limits limits_;
  Tally tally_;
  // By the archive that is applied now.
  std::unordered_set<std::string> made_;
  std::unordered_set<std::string> whiteouts_;
};

// Removes everything below a folder. `kept`: relative paths with `prefix` in front that stay, and the folders above
// them.
Result<> remove_below(int folder, const std::string& prefix, const std::unordered_set<std::string>& kept);

}  // namespace weir::image
