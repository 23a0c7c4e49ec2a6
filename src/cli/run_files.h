// Which files of the host the sandbox sees: -v, --here, --tool, and where the command starts.
#pragma once

#include "base/error.h"
#include "cli/command.h"
#include "sandbox/shares/shares.h"
#include "sandbox/spec.h"

namespace weir::cli {

// Fills spec.shares, spec.tools and spec.workdir. Looks at the named files; changes nothing.
Result<> plan_files(const CommandLine& line, const Caller& caller, sandbox::Spec& spec);

// What the rules about shared files depend on.
sandbox::Sharer sharer_of(const CommandLine& line, const Caller& caller);

}  // namespace weir::cli
