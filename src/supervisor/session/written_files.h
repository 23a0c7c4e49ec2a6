// What the processes of a sandbox have written, to be kept: without what weir itself put there.
#pragma once

#include "base/error.h"
#include "image/ids.h"
#include "image/snapshot/written_entries.h"
#include "sandbox/sandbox.h"
#include "sandbox/spec.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {

struct WrittenFiles {
  sys::OwnedFd folder;
  image::WrittenTree tree;  // of that folder
  image::Ids ids;           // the sandbox's, as the process that reads them has them

  // Once the sandbox stands and before its first process: what is there then is weir's own.
  static Result<WrittenFiles> of(sandbox::Sandbox& sandbox, const sandbox::Spec& spec);
};

}  // namespace weir::supervisor
