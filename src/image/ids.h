// Whose the files of stored images are on the host.
//
//   root        ids 0..65535 of an image lie at 65,536 host ids that nothing else has: no file in the store belongs to
//               root or to a person, and a running sandbox sees them through a mount that maps them to its own.
//   subids      as root, through newuidmap and the caller's 65,536 ids of /etc/subuid; id 1000 is the caller.
//   one         every file is the caller's.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "image/tree_writer.h"
#include "sys/id_maps.h"

namespace weir::image {

// Just below the ranges of running sandboxes (sandbox/identity.h), far above those of /etc/subuid.
inline constexpr std::uint32_t kStoredFirst = 0x0fff0000;
inline constexpr std::uint32_t kIdCount = 65536;
// The id inside that is the caller: that of the sandbox's user unless --user says otherwise.
inline constexpr std::uint32_t kCallerInside = 1000;

struct Ids {
  enum class Kind : std::uint8_t { root, subids, one } kind = Kind::one;
  sys::IdMaps maps;  // of the process that unpacks and removes; and of the sandbox, for subids

  Owners owners() const { return kind == Kind::one ? Owners::one : Owners::all; }
  // "root", "one", "subids:100000:100000": equal where stored files fit.
  std::string text() const;
  Result<> apply_to(pid_t process) const;
};

// Those that stored files were made with, by their text(); EPERM: the caller, who has `now`, has them no more.
Result<Ids> ids_of_stored(const std::string& text, const Ids& now);

// What the caller has.
Result<Ids> ids_of_caller();

struct OwnerIds {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// What the kernel shows in place of an owner who has no id in the namespace of the one who looks: 65534 ("nobody")
// unless the machine's operator says otherwise. Whoever really has that id cannot be told from the others.
Result<OwnerIds> ids_of_unmapped();

}  // namespace weir::image
