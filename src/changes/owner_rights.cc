#include "changes/owner_rights.h"

#include <sys/fsuid.h>
#include <unistd.h>

namespace weir::changes {

OwnerRights::OwnerRights(std::uint32_t uid, std::uint32_t gid) {
  if (::geteuid() != 0) return;
  ::setfsgid(gid);
  ::setfsuid(uid);
}

OwnerRights::~OwnerRights() {
  ::setfsuid(::geteuid());
  ::setfsgid(::getegid());
}

}  // namespace weir::changes
