// Entries become the files of a layer, and its manifest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "image/ids.h"
#include "image/limits.h"
#include "image/snapshot/written_entries.h"
#include "image/tree_writer.h"
#include "sys/owned_fd.h"
#include "wire/layer_manifest.h"
#include "wire/tar.h"

namespace weir::image {

// One layer: what a session may have written together. Reading it takes seconds for each GiB.
inline constexpr Limits kLayerLimits{.entries = wire::kMaxLayerEntries, .bytes = std::uint64_t{16} << 30};

struct LayerTally {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  LeftOut left_out;
};
// As one process says it to another.
std::string encode(const LayerTally& tally);
Result<LayerTally> decode_layer_tally(std::string_view text);

// What a sandbox has written goes into the folder `root`, which is empty, and its manifest into the file `manifest`.
Result<LayerTally> write_layer(const WrittenTree& tree, sys::OwnedFd root, Owners owners, int manifest,
                               Limits limits = kLayerLimits);

// The files that a manifest describes. `content` gives what each file of it holds, in its order, and is asked until it
// has no more; what is not what the manifest says is an error.
using NextContent = std::function<Result<wire::ByteStream*>(const wire::LayerEntry& file, std::size_t number)>;
Result<LayerTally> restore_layer(std::string_view manifest, const NextContent& content, sys::OwnedFd root,
                                 Owners owners);

}  // namespace weir::image
