// From the bytes of an image to a tree of files. Runs in the confined process (confined.h).
#pragma once

#include <cstdint>

#include "base/error.h"
#include "image/description.h"
#include "sys/owned_fd.h"

namespace weir::image {

// What is unpacked: a regular file, or a folder that is an OCI layout.
struct Source {
  sys::OwnedFd fd;
  enum class Kind : std::uint8_t { file, layout } kind = Kind::file;
  std::uint64_t size = 0;  // of a file
};

// Makes the image's files in the folder `target`, which is empty. An error leaves a part of them there. The
// description's name and time are left to the caller.
Result<Description> unpack(const Source& source, sys::OwnedFd target, Owners owners);

}  // namespace weir::image
