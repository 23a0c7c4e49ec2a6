// What the processes of a sandbox may ask of the kernel: capabilities and system calls.
#pragma once

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/spec.h"
#include "sys/seccomp_filter.h"

namespace weir::sandbox {

// The list of refused system calls. Everything else is allowed: the sandbox runs arbitrary programs.
sys::SeccompFilter guest_filter();

// In init, after the root is built and before the command exists: gives up every capability (for uid 0 inside all but
// a harmless few), becomes the user, and installs no_new_privs and the filter. There is no way back. Resets the
// parent-death signal, which the kernel forgets when ids change.
Result<> confine(const User& user, Identity::Kind identity);

}  // namespace weir::sandbox
