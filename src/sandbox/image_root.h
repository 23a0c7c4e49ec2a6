// The root of a sandbox that runs in an image: a private layer over files that are never written.
#pragma once

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

// In the supervisor, before the clone. As root the image's mount, on which its ids are the sandbox's; otherwise
// nothing, and init takes it by its path.
Result<sys::OwnedFd> prepare_image(const ImageRoot& image, const Identity& identity);

// In init, as root inside, with the current folder at the new, empty root and the host's root still "/". The image with
// a private layer on top takes the place of the new root and becomes the current folder. What weir puts into every
// sandbox (users, names, folders for mounts) is put into the layer before it is mounted, so no name in the image is
// followed.
Result<> enter_image(const Spec& spec, const sys::OwnedFd& prepared);

}  // namespace weir::sandbox
