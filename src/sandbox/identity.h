// Which ids of the host stand behind the ids of a sandbox.
//
// An ordinary user has one id to give: the sandbox's user is that id, and no other exists inside. Root gives a range of
// 65,536 ids of its own to each sandbox, so that root inside is nobody outside and two sandboxes share no id. A root
// that does not have those ids itself (in a container with a small map) is treated as an ordinary user. With an image
// whose files belong to the ids that /etc/subuid gives to an ordinary user, the sandbox has those.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/error.h"
#include "sandbox/spec.h"
#include "sys/id_maps.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

class Identity {
 public:
  enum class Kind : std::uint8_t { own_id, range, delegated };

  // Ranges lie far above what useradd and the usual subuid tables give out (100,000 and up, below 2^28).
  static constexpr std::uint32_t kFirstId = 0x10000000;
  static constexpr std::uint32_t kRangeSize = 65536;
  // The last range ends below 2^31: some programs keep ids in signed integers.
  static constexpr std::uint32_t kSlots = 16384;

  // What claim() will make for this process.
  static Kind kind_of_caller();

  // For root: claims a range by a lock on one byte of /run/weir/id-ranges, which the kernel releases when this object
  // or the process dies, however it dies.
  static Result<Identity> claim(const Spec& spec);

  // The same ids once more, for another sandbox: they stay claimed until both are gone.
  Result<Identity> shared() const;

  Kind kind() const { return kind_; }
  // Of a range: the first id, which stands behind root inside.
  std::uint32_t first() const { return maps_.uids.front().outside; }
  const sys::IdMaps& maps() const { return maps_; }
  // The host's ids behind the sandbox's user.
  std::uint32_t host_uid() const { return host_uid_; }
  std::uint32_t host_gid() const { return host_gid_; }

  // Writes setgroups, uid_map and gid_map of a process that was just made in a new user namespace of the caller.
  Result<> apply_to(pid_t process) const;

 private:
  Identity(Kind kind, const User& user, sys::IdMaps maps);
  static Result<Identity> claim_range(const User& user);

  Kind kind_;
  std::uint32_t host_uid_ = 0;
  std::uint32_t host_gid_ = 0;
  sys::IdMaps maps_;
  sys::OwnedFd lock_;
};

}  // namespace weir::sandbox
