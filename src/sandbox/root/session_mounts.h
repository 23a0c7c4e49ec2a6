// The mounts of a sandbox that lives on, for another one that lies over them.
#pragma once

#include <vector>

#include "base/error.h"
#include "sandbox/spec.h"
#include "sys/child_process.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// The namespaces in which its files are found.
struct Namespaces {
  sys::OwnedFd user;
  sys::OwnedFd mount;

  // Of a child that the caller has just made in new ones, before it runs anything: later it lets nobody look.
  static Result<Namespaces> of(const sys::ChildProcess& child);
};

// Detached and read-only, nothing mounted below.
struct SessionMounts {
  sys::OwnedFd root;
  std::vector<sys::OwnedFd> shares;  // one for each of Spec::shares; valid for those that are Share::Of::session
};

// A child of the caller enters the namespaces, takes the mounts and ends: what lies there has been in strangers' hands,
// so no link is followed, and a share whose place is no overlay any more is an error. Blocks for about a millisecond.
// The caller is who made the namespaces, or root.
Result<SessionMounts> take_session_mounts(const Namespaces& namespaces, const Spec& spec);

}  // namespace weir::sandbox
