// Mounts that show the owners of their files as others (kernel 5.12).
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sys/id_maps.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// On the detached mount, ids `inside` (as the file system has them) become ids `outside` (as the caller's user
// namespace names them); what is not in a range belongs to nobody. Needs CAP_SYS_ADMIN over the file system, which root
// has. `source` names it in errors.
Result<> map_ids(const OwnedFd& mount, const std::vector<IdRange>& uids, const std::vector<IdRange>& gids,
                 const std::string& source);

}  // namespace weir::sys
