// Hostile archives are read by a process that can do nothing but make files in one folder.
//
// It has namespaces of its own (no network device, no other process), that folder for its root, no capability but the
// four that give files to their owners (and those over its own ids only), a list of allowed system calls without
// open(2) by name alone, socket, exec or ptrace, limits on memory and file sizes, and dies with its parent.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"
#include "image/description.h"
#include "image/ids.h"
#include "image/unpack.h"

namespace weir::image {

// `source`: absolute path of a regular file, or of a folder that is what `kind` says. `target`: absolute path of an
// empty folder of the caller's. Links in both are resolved already.
Result<Description> unpack_confined(const std::string& source, Source::Kind kind, const std::string& target,
                                    const Ids& ids);

// The same process for work of the caller's own. `from`: a file by its path (absolute, links resolved), or the
// descriptor of a folder, which stays the caller's. `target`: as above, or empty: an empty folder of memory. `output`:
// a file that may be written, or -1. `ids`: its user namespace; as root the files made belong to kStoredFirst and those
// after it on disk, whatever `ids` say. What `work` returns is at most kMaxDescription bytes, and the word of a process
// that hostile bytes may have taken over.
struct ConfinedInput {
  std::string file = {};
  int folder = -1;
};
using ConfinedWork = std::function<Result<std::string>(const Source& source, sys::OwnedFd root, int output)>;
Result<std::string> work_confined(const ConfinedInput& from, const std::string& target, const Ids& ids, int output,
                                  const ConfinedWork& work);

// Empties a folder that unpack_confined() filled; such files may be nobody's to remove from outside.
Result<> empty_confined(const std::string& target, const Ids& ids);

}  // namespace weir::image
