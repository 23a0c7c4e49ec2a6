// JSON of a stranger. Internal to this room.
#pragma once

#include <string_view>

#define JSON_NO_IO 1
#define JSON_USE_IMPLICIT_CONVERSIONS 0
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace weir::wire {

using Json = nlohmann::json;

// One document and nothing behind it. No key twice in one object (which would count?), and no deeper than 32 levels.
Result<Json> parse_strict_json(std::string_view text);

}  // namespace weir::wire
