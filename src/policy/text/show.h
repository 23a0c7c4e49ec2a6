// `weir policy show`, `--dry-run` and `weir policy sets`: a policy as it applies, sets unfolded, floors included.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "policy/text/compile.h"
#include "policy/text/sets.h"

namespace weir::policy {

// Several lines, from the outside in, with a newline at the end.
std::string show_text(const Compiled& compiled);
// One object, without a newline.
std::string show_json(const Compiled& compiled);

// All sets, or the contents of one.
std::string sets_text();
std::string sets_json();
std::string set_text(const HostSet& set);
std::string set_json(const HostSet& set);
// The error of a name (with or without "@") that is no set, with the nearest one.
Result<const HostSet*> require_host_set(std::string_view name);

// The presets of policy.md section 9 as one object: {"PYPI_HOSTS": [...], ..., "CLOUD_METADATA_DENY": [...]}.
std::string presets_json();

}  // namespace weir::policy
