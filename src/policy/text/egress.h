// The upstream proxies of one layer: its file's and its flags'. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "policy/text/compile.h"

namespace weir::policy {

// By kind, at most one of each. A flag replaces what the file says, and `notices` says so.
Result<std::vector<EgressProxy>> egress_of(const PolicyFlags& flags, const PolicyText& text,
                                           std::vector<std::string>& notices);

// What changes where everything goes through a proxy: said at start.
void note_egress(const ImageSource& source, Mode mode, std::vector<std::string>& notices);

}  // namespace weir::policy
