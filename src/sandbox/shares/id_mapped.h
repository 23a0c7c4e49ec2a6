// Mounts on which the owner of the source appears as the sandbox's user (kernel 5.12).
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "sandbox/identity.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// Maps the detached mount: files of `uid`:`gid` belong to the sandbox's user, what that user makes belongs to
// `uid`:`gid`, and everything else belongs to nobody inside. Only one pair is mapped, on purpose: root inside could
// otherwise give files in the share to any user of the host. Needs CAP_SYS_ADMIN over the file system, which root has.
// `source` names it in errors.
Result<> map_owner(const sys::OwnedFd& mount, uid_t uid, gid_t gid, const Identity& identity,
                   const std::string& source);

}  // namespace weir::sandbox
