// Trying out something irreversible: it happens in a child that ends afterwards.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/error.h"

namespace weir::sys {

// Runs `work` in a forked child and returns what it returned. The child never comes back into the caller's code; it
// ends with its parent, and is killed when it takes longer than `patience`. Text is cut at 4,000 bytes. A child that
// dies by a signal is an error that names the signal. The caller is single-threaded and the calling process keeps its
// SIGCHLD disposition at the default. `work` may nest another child (a pid namespace begins with the next one).
Result<std::string> in_throwaway_child(const std::function<Result<std::string>()>& work,
                                       std::chrono::milliseconds patience = std::chrono::seconds(5));

// For the child: a user namespace in which the caller is root, and nobody else exists. From here on the caller has
// every capability over namespaces that it makes next, and none over the host.
Result<> become_root_of_new_user_namespace();

}  // namespace weir::sys
