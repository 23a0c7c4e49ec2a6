// The spellings of modes (policy.md section 1), for flags, files and the API.
#pragma once

#include <span>
#include <string_view>

#include "base/error.h"
#include "policy/compiled/image.h"

namespace weir::policy {

// "denylist" is `public` with the promise that something is denied.
enum class DenyNeed : std::uint8_t { optional, required };

struct ModeWord {
  Mode mode;
  DenyNeed deny = DenyNeed::optional;
};

// Any spelling; letters of either case, '-' for '_'. The error names the nearest valid one.
Result<ModeWord> parse_mode(std::string_view word);

// Every spelling, for the schema.
std::span<const std::string_view> mode_words();

// Narrow to wide: a run may not be wider than its session.
unsigned width_of(Mode mode);

}  // namespace weir::policy
