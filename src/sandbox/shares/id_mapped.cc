#include "sandbox/shares/id_mapped.h"

#include "sys/id_mapped.h"

namespace weir::sandbox {

Result<> map_owner(const sys::OwnedFd& mount, uid_t uid, gid_t gid, const Identity& identity,
                   const std::string& source) {
  return sys::map_ids(mount, {{.inside = uid, .outside = identity.host_uid(), .count = 1}},
                      {{.inside = gid, .outside = identity.host_gid(), .count = 1}}, source);
}

}  // namespace weir::sandbox
