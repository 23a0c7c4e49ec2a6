// /etc of a sandbox: what programs need to find users, names, certificates and libraries, and nothing about the host.
#pragma once

#include "base/error.h"
#include "sandbox/spec.h"

namespace weir::sandbox {

// In init, with the current folder at the new root and the host's root still "/".
Result<> make_etc(const Spec& spec);

}  // namespace weir::sandbox
