// How calls of this library fail: a value, never an exception.
#pragma once

#include <expected>
#include <string>

namespace weir {

struct Failure {
  std::string code;  // a word of the closed list in docs/openapi.yaml: "cannot_widen", "not_found", "unavailable" ...
  std::string message;  // one line: what, and why
  std::string remedy;   // what to do; empty where nothing is known to help
};

template <class T = void>
using Expected = std::expected<T, Failure>;

}  // namespace weir
