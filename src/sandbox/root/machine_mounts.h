// The kernel's own file systems (proc, sysfs, ...), wherever they are mounted.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::sandbox {

// A share takes the mounts below its source along. Refuses a source that is on, or has below it, a file system through
// which the kernel or the host's processes are reached. Absolute, links resolved.
Result<> refuse_machine_mounts(const std::string& source);

// The same of a given /proc/self/mountinfo: the mount point of the offending file system, or empty.
std::string machine_mount_in(std::string_view mountinfo, std::string_view source);

}  // namespace weir::sandbox
