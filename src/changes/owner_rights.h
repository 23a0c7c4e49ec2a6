// As root: the rights of whoever owns the shared folder, for as long as the object lives. What that user may not do is
// not done in their folder either, and what they put in the way gains them nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace weir::changes {

class OwnerRights {
 public:
  // Nothing happens where the caller is not root. setfsuid(2): with the id go the capabilities over files.
  OwnerRights(std::uint32_t uid, std::uint32_t gid);
  OwnerRights(const OwnerRights&) = delete;
  OwnerRights& operator=(const OwnerRights&) = delete;
  ~OwnerRights();

 private:
  std::vector<gid_t> groups_;  // root's own, which are put back
};

}  // namespace weir::changes
