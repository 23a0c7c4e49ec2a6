// `weir policy check`: what is valid and probably not what its author meant.
#pragma once

#include <string>
#include <vector>

#include "policy/text/compile.h"

namespace weir::policy {

struct LintFinding {
  std::string place;    // "agents.toml:3:9", "--allow"
  std::string code;     // "apex", "shadowed", "broad", "platform", "unbound-deny", "overlap", "dns-tunnel", "uploads"
  std::string message;  // one line, without the place
};

// In the order of the policy. Of findings of a layer with one code the first ten, then one, without a place, with the
// number of the others.
std::vector<LintFinding> lint(const Compiled& compiled);

}  // namespace weir::policy
