// A root made of layers: a private one over an image, over files that a session before left, or over both. What lies
// below is never written, and was made by strangers.
#pragma once

#include <vector>

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// Layers below the private one without the image: all their names together are one option of a mount, 255 bytes long.
inline constexpr std::size_t kMaxLayers = 64;

// Whether the root of such a sandbox is made of layers; otherwise it is one private file system.
bool is_layered(const Spec& spec);

// In the supervisor, before the clone: what lies below the private layer, top first, the image last. As root mounts on
// which the ids of the files are the sandbox's; otherwise nothing, and init takes them by their paths.
Result<std::vector<sys::OwnedFd>> prepare_lowers(const Spec& spec, const Identity& identity);

// In init, as root inside, with the current folder at the new, empty root and the host's root still "/", in this order.
// What weir puts into every sandbox (users, names, folders for mounts) is put into the private layer before it is
// mounted, so no name below it is followed; and a folder there covers whatever is below it and is none.
class LayeredRoot {
 public:
  // Makes the private layer, empty, and its folder the current one.
  static Result<LayeredRoot> begin(const Spec& spec, const std::vector<sys::OwnedFd>& prepared);
  // What an image's sandbox needs.
  Result<> fill_over_image() const;
  // The folders that shares and tools are put into, where nothing below stands against it.
  Result<> make_folders_for_mounts() const;
  // The layers take the place of the new root and become the current folder.
  Result<> enter();

 private:
  LayeredRoot(const Spec& spec, std::size_t below, sys::OwnedFd view)
      : spec_(spec), below_(below), view_(std::move(view)) {}

  const Spec& spec_;
  std::size_t below_;  // layers, the image included
  sys::OwnedFd view_;  // all of them as one tree
};

}  // namespace weir::sandbox
