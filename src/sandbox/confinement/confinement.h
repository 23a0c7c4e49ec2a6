// What the processes of a sandbox may ask of the kernel: capabilities and system calls.
#pragma once

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/spec.h"
#include "sys/seccomp_filter.h"

namespace weir::sandbox {

// Where init lives on it opens files for the supervisor, for which it needs openat2(): that alone is refused to each
// process when it begins (process_filter()), everything else to all from the start.
enum class Filtered : std::uint8_t { everything, init };

// The list of refused system calls. Everything else is allowed: the sandbox runs arbitrary programs.
sys::SeccompFilter guest_filter(Filtered filtered = Filtered::everything);
sys::SeccompFilter process_filter();

// In init, after the root is built and before the command exists: gives up every capability (for uid 0 inside all but
// a harmless few), becomes the user, and installs no_new_privs and the filter. There is no way back. Resets the
// parent-death signal, which the kernel forgets when ids change.
Result<> confine(const User& user, Identity::Kind identity, Filtered filtered = Filtered::everything);

}  // namespace weir::sandbox
