// From flags, a policy file and the operator's floor to one compiled policy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "net/ip_address.h"
#include "policy/compiled/image.h"

namespace weir::cli {

// What `weir run` starts with and `weir policy show` prints.
struct EffectivePolicy {
  policy::Mode mode = policy::Mode::none;
  std::vector<std::uint8_t> image;
  std::string hash;
  std::string floor_hash;  // empty: the machine has no /etc/weir/floor.toml
  std::vector<net::Endpoint> dns_upstreams;
  std::vector<std::string> notices;  // for stderr at start: what was insisted on, opened, replaced
  std::string shown_text;
  std::string shown_json;  // one JSON object
};

// Reads --policy and the floor, adds --net, --allow, --deny and --insist. Errors where the policy cannot be read or
// parsed, where flags contradict each other, and where this version does not have the mode.
Result<EffectivePolicy> effective_policy(const CommandLine& line, const Caller& caller);

}  // namespace weir::cli
