// A snapshot as one file: a tar archive of
//
//   weir-snapshot                  its description (snapshot.h), first
//   layers/DIGEST/manifest         for each layer, top first: what it is; its digest is the name
//   layers/DIGEST/files/N          right behind: what the files of the manifest hold, in its order, from 0
//
// Names in it are of this form and no other, so nothing in an archive says where a file goes but a manifest that the
// digest vouches for. Reading happens in the confined process (confined.h).
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "image/snapshot/layer_writer.h"
#include "image/snapshot/snapshot.h"
#include "sys/owned_fd.h"
#include "wire/byte_stream.h"

namespace weir::image {

// Both write to a descriptor, which may be a pipe.
Result<> write_description(const Snapshot& snapshot, int to);
// `tree`: the layer's files.
Result<> write_layer_members(const std::string& digest, std::string_view manifest, int tree, int to);
Result<> write_end(int to);

// The description as text, bounded: the first member of `archive`.
Result<std::string> read_description(wire::ByteStream& archive);
// One layer: its manifest into the file `manifest`, its files below `root`. What is not of `snapshot`, in its order, is
// an error of the whole.
Result<LayerTally> read_layer(wire::ByteStream& archive, const Snapshot& snapshot, std::size_t number,
                              sys::OwnedFd root, Owners owners, int manifest);

}  // namespace weir::image
