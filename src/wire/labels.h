// Labels of sessions and snapshots: how many, and what they may be, wherever they come from (docs/openapi.yaml,
// Labels).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace weir::wire {

using Labels = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t kMaxLabels = 64;
inline constexpr std::size_t kMaxLabelKey = 63;
inline constexpr std::size_t kMaxLabelValue = 256;

// Keys begin with a letter or digit and hold those, '_', '.', '/' and '-'; values are text without control characters.
// An error names the first that is none, one that is there twice, or that there are too many.
Result<> check_labels(const Labels& labels);

}  // namespace weir::wire
