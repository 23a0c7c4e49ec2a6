#include "changes/owner_rights.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <unistd.h>

namespace weir::changes {

OwnerRights::OwnerRights(std::uint32_t uid, std::uint32_t gid) {
  if (::geteuid() != 0) return;
  const int count = ::getgroups(0, nullptr);
  groups_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  if (!groups_.empty() && ::getgroups(count, groups_.data()) != count) groups_.clear();
  ::setgroups(0, nullptr);
  ::setfsgid(gid);
  ::setfsuid(uid);
}

OwnerRights::~OwnerRights() {
  if (::geteuid() != 0) return;
  ::setfsuid(::geteuid());
  ::setfsgid(::getegid());
  ::setgroups(groups_.size(), groups_.data());
}

}  // namespace weir::changes
