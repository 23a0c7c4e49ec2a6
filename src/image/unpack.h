// From the bytes of an image to a tree of files. Runs in the confined process (confined.h).
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "image/description.h"
#include "image/ids.h"
#include "sys/owned_fd.h"

namespace weir::image {

// What is unpacked: a regular file, a folder that is an OCI layout, or one that is a root file system itself.
struct Source {
  sys::OwnedFd fd;
  enum class Kind : std::uint8_t { file, layout, tree } kind = Kind::file;
  std::uint64_t size = 0;            // of a file
  std::optional<OwnerIds> unmapped;  // of a tree: FolderEntries
};

// Makes the image's files in the folder `target`, which is empty. An error leaves a part of them there. The
// description's name and time are left to the caller.
Result<Description> unpack(const Source& source, sys::OwnedFd target, Owners owners);

}  // namespace weir::image
