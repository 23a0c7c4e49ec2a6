// What the readers of bodies share.
#pragma once

#include <string_view>
#include <type_traits>
#include <utility>

#include "base/json_document.h"
#include "daemon/bodies.h"
#include "wire/json_fields.h"

namespace weir::daemon {

// What is wrong with a body is the caller's mistake.
template <class T>
wire::Answer<T> as_bad_request(Result<T> result) {
  if (!result) {
    const std::string& remedy = result.error().remedy();
    return wire::refuse(wire::ErrorCode::bad_request, "the body is wrong: " + result.error().what(),
                        remedy.empty() ? "see /openapi.json" : remedy);
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

wire::Answer<Json> body_object(std::string_view body);

// Letters, digits, '_', '.', ':' and '-', and no path.
bool is_plain_name(std::string_view text);
bool is_variable_name(std::string_view text);

// Refused to a token: what reaches past its sandboxes into the machine.
wire::Answer<> check_reach(const Json& body, const Principal& who);

// Network, files and limits of a sandbox; what else the body holds is the caller's.
Result<CreateWords> sandbox_words(wire::JsonFields& fields);

}  // namespace weir::daemon
