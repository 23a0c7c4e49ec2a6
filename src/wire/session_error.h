// How a session, and the API before it, says that something is not done: a closed list of codes.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::wire {

enum class ErrorCode : std::uint8_t {
  bad_request,
  bad_policy,
  cannot_enforce,
  cannot_widen,
  wider_process,
  not_found,
  name_taken,
  gone,
  unauthorized,
  read_only,
  forbidden,
  too_large,
  too_many,
  conflict,
  idempotency_mismatch,
  not_executed,
  image_not_found,
  snapshot_not_found,
  language_unavailable,
  taint,
  limit,
  timeout,
  unavailable,
  method_not_allowed,
  internal,
};

// "bad_request"; as in docs/openapi.yaml.
std::string_view name_of(ErrorCode code);
std::optional<ErrorCode> error_code_of(std::string_view name);

// The one form in which a caller is told: on the socket of a session, over HTTP, by `-o json`.
struct Refusal {
  ErrorCode code = ErrorCode::internal;
  std::string message = {};
  std::string remedy = {};

  bool operator==(const Refusal&) const = default;
};

// What is asked of a session ends with what was asked for, or with that. WEIR_TRY passes it on.
template <class T = void>
using Answer = std::expected<T, Refusal>;

inline std::unexpected<Refusal> refuse(ErrorCode code, std::string message, std::string remedy = {}) {
  return std::unexpected(Refusal{.code = code, .message = std::move(message), .remedy = std::move(remedy)});
}
inline std::unexpected<Refusal> refuse(ErrorCode code, const Error& error) {
  return refuse(code, error.what(), error.remedy());
}

// {"error":{"code":...,"message":...,"remedy":...}}, newline included.
std::string error_line(const Refusal& refusal);

}  // namespace weir::wire
