// Leases on files (fcntl(2), F_SETLEASE): who holds one is told before anybody else opens the file.
//
// Every other open of the inode, by whatever path, mount or layer, for reading, writing, truncating or executing, waits
// in the kernel until the lease is given back; with O_NONBLOCK it fails with EWOULDBLOCK, and is told of all the same.
// O_PATH opens nothing that could be read. The process that took the lease is sent SIGIO. The kernel takes the lease
// away by itself after lease_patience().
#pragma once

#include <chrono>
#include <optional>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// `file`: open for reading only, and the only one that is open of this inode. Needs to be the file's owner (or
// CAP_LEASE). Of the open file description: held until everybody who shares that has closed it. Blocks nothing.
// Errors: EAGAIN (open elsewhere), EACCES (another's), EINVAL (a file system without leases, or no regular file).
Result<> take_lease(int file);
// Whether somebody waits for it to be given back.
bool is_lease_wanted(int file);
// Harmless where there is none.
void give_back_lease(int file);

// /proc/sys/fs/lease-break-time; nothing: without end.
Result<std::optional<std::chrono::seconds>> lease_patience();

}  // namespace weir::sys
