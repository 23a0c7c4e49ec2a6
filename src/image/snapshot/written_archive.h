// What a sandbox has written as a tar archive, for another one that takes it over.
#pragma once

#include "base/error.h"
#include "image/ids.h"
#include "image/snapshot/written_entries.h"

namespace weir::image {

// By a confined process (image/confined.h), as a snapshot's layer is made: the same is left out, whiteouts are spelled
// as the OCI image specification does. `to`: a pipe to write. `ids`: the sandbox's user namespace. Blocks until all of
// it was written; nothing inside runs meanwhile.
Result<> write_written(const WrittenTree& tree, const Ids& ids, int to);

}  // namespace weir::image
