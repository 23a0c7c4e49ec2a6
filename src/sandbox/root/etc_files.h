// /etc of a sandbox: what programs need to find users, names, certificates and libraries, and nothing about the host.
#pragma once

#include <string>

#include "base/error.h"
#include "sandbox/root/root_files.h"
#include "sandbox/spec.h"

namespace weir::sandbox {

// In init, with the current folder at the new root and the host's root still "/".
Result<> make_etc(const Spec& spec, WaitingMounts& mounts);

// Only hosts, hostname and resolv.conf, in a folder etc of the current one.
Result<> make_names(const Spec& spec);

// The sandbox's user as a line of etc/passwd and of etc/group.
std::string passwd_line(const User& user);
std::string group_line(const User& user);

}  // namespace weir::sandbox
