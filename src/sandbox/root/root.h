// The file system that a sandbox sees.
//
// A private tmpfs is the root: writable, gone with the sandbox. The host's /usr is in it read-only, /etc is made up of
// what programs need, /dev and /proc are minimal and the sandbox's own, /sys is absent. With an image or with what a
// session left (image_root.h) the root is a private layer over that; an image takes the place of the host's programs.
#pragma once

#include <functional>
#include <vector>

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/root/tools.h"
#include "sandbox/shares/share_mounts.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

struct RootPlan {
  const Spec& spec;
  Identity::Kind identity;
  const std::vector<PreparedShare>& shares;
  const std::vector<Tool>& tools;
  const std::vector<sys::OwnedFd>& lowers;  // prepare_lowers()
  LayerTaker layer_taker;                   // for mount_shares()
  // Of a sandbox that lives on: gets the folder that is written into (control::WrittenMade), before anything is in it.
  std::function<Result<>(const sys::OwnedFd& tree)> written_taker;
};

// All three with CAP_SYS_ADMIN over a mount namespace of its own in which "/" is still the host's, in this order:
// Puts an empty tmpfs over "/" and makes it the current folder.
Result<> begin_root(const Spec& spec);
// Fills the current folder. As root inside: what is made belongs to it.
Result<> fill_root(const RootPlan& plan);
// Makes the current folder the root. Afterwards the host's is attached nowhere in the namespace.
Result<> change_root();

}  // namespace weir::sandbox
