// What a sleeping session's folder says about how to start it again: the options of its start as they were resolved
// then, and where it goes on (docs/decisions/0022). Names of files that options gave (--policy, --env-file, ...) are
// not in it: what was read from them is, or is in the files beside it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policy/text/compile.h"
#include "supervisor/session/session_options.h"

namespace weir::supervisor {

// Files in the folder of a session that is asleep.
inline constexpr const char* kSleepPlan = "plan.json";
inline constexpr const char* kSleepPolicy = "policy";  // the policy in force, compiled; none without a gateway
inline constexpr const char* kSleepAfter =
    "after";  // [after], as the only layer of a compiled policy; none without one

inline constexpr std::size_t kMaxSleepPlan = 16u << 20;

// Where it goes on.
struct SleepStage {
  SessionOptions::Slept slept = {};
  PolicyStage policy = {};
  std::string policy_hash = {};
};
// An error names what cannot be kept: JSON has no place for bytes that are no UTF-8.
Result<std::string> sleep_plan_text(const SessionOptions& options, const SleepStage& stage);
// Strict: what is missing, unknown or of another version is an error. Of the image there is only begun_from.base, of
// the policy only its hash, mode and stage, of [after] only that there is one.
Result<SessionOptions> parse_sleep_plan(std::string_view text);

// A layer that waits, as bytes and back.
Result<std::vector<std::uint8_t>> image_of_after(const policy::Narrowing& after);
Result<policy::Narrowing> after_of_image(Bytes image);

}  // namespace weir::supervisor
