// Reading JSON that others wrote (RFC 8259), strictly: one value, no key twice, no deep nesting.
#pragma once

#include <string_view>

#define JSON_NO_IO 1
#define JSON_USE_IMPLICIT_CONVERSIONS 0
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace weir {

using Json = nlohmann::json;

// Errors say what is wrong without the text: "not JSON", "nested too deeply", "the key 'x' twice". The whole text must
// be one value in UTF-8.
Result<Json> parse_json(std::string_view text);

// The member, if `object` is an object that has it and it is not null.
const Json* json_member(const Json& object, const char* key);

}  // namespace weir
