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
#include "policy/text/policy_file.h"

namespace weir::policy {

// From a file's text and flags, as for compile_policy(). Lists are not read, ports, name servers and [after] stay those
// of the start: errors that say so.
Result<Narrowing> compile_narrowing(const PolicyFlags& flags);

// The [after] of a policy that becomes `outer`: the section, or a mode that stands for one (--after). An error where it
// is wider, or where `outer` has nothing that could be taken away.
Result<Narrowing> compile_after(const PolicyText& section, const std::string& mode, const Image& outer,
                                std::vector<std::string>& warnings);

struct Narrowed {
  std::vector<std::uint8_t> image;
  std::string hash;
  std::vector<std::string> warnings;  // what the policy before allows only in part
};

// A wish that the policy refuses entirely is an error (cannot_widen), as is a wider mode.
Result<Narrowed> narrow_policy(const Image& current, const Narrowing& by);
// The same without looking at wishes, which were looked at before: what the policy refuses by now stays refused.
Result<Narrowed> put_inside(const Image& current, const Narrowing& by);
// Whether another layer fits inside.
bool has_room_inside(const Image& policy);

}  // namespace weir::policy
