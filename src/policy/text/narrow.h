// The policy of a live sandbox becomes narrower: what it has, and one layer more inside of it.
//
// Every layer must allow, and none is ever taken away: whatever the new one says, nothing becomes possible that was
// not. That a wish is wider is still an error, because whoever wrote it would believe that it holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "policy/compiled/image.h"
#include "policy/compiled/source.h"
#include "policy/text/compile.h"

namespace weir::policy {

// A layer that waits to be put inside of a policy.
struct Narrowing {
  LayerSource layer;
  Limits limits;
  std::uint32_t written_limits = 0;
};

// From a file's text and flags, as for compile_policy(). Lists are not read, ports and name servers stay those of the
// start: errors that say so.
Result<Narrowing> compile_narrowing(const PolicyFlags& flags);

struct Narrowed {
  std::vector<std::uint8_t> image;
  std::string hash;
  std::vector<std::string> warnings;  // what the policy before allows only in part
};

// A wish that the policy refuses entirely is an error (cannot_widen), as is a wider mode.
Result<Narrowed> narrow_policy(const Image& current, const Narrowing& by);

}  // namespace weir::policy
