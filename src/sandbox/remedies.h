// What to do when the machine forbids what a sandbox needs.
#pragma once

#include "base/error.h"

namespace weir::sandbox {

// For a failed clone with new namespaces.
Error with_clone_remedy(Error error);

// For a failed step after it. An error that has a remedy already keeps it.
Error with_set_up_remedy(Error error);

}  // namespace weir::sandbox
