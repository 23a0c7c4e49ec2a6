#pragma once

namespace weir::sys {

// Lets this process have as many descriptors as it may give itself (RLIMIT_NOFILE, the hard limit). Where that is
// refused there are fewer of them, and whoever needs one hears it.
void raise_descriptor_limit();

}  // namespace weir::sys
