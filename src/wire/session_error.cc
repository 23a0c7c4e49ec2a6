#include "wire/session_error.h"

#include <array>

#include "base/json.h"

namespace weir::wire {

namespace {

// In the order of ErrorCode.
constexpr std::array<std::string_view, 25> kNames = {"bad_request",
                                                     "bad_policy",
                                                     "cannot_enforce",
                                                     "cannot_widen",
                                                     "wider_process",
                                                     "not_found",
                                                     "name_taken",
                                                     "gone",
                                                     "unauthorized",
                                                     "read_only",
                                                     "forbidden",
                                                     "too_large",
                                                     "too_many",
                                                     "conflict",
                                                     "idempotency_mismatch",
                                                     "not_executed",
                                                     "image_not_found",
                                                     "snapshot_not_found",
                                                     "language_unavailable",
                                                     "taint",
                                                     "limit",
                                                     "timeout",
                                                     "unavailable",
                                                     "method_not_allowed",
                                                     "internal"};
static_assert(kNames.size() == static_cast<std::size_t>(ErrorCode::internal) + 1);

}  // namespace

std::string_view name_of(ErrorCode code) {
  return kNames[static_cast<std::size_t>(code)];
}

std::optional<ErrorCode> error_code_of(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<ErrorCode>(i);
  }
  return std::nullopt;
}

std::string error_line(const Refusal& refusal) {
  JsonWriter json;
  json.begin_object().key("error").begin_object();
  json.field("code", name_of(refusal.code));
  json.field("message", std::string_view(refusal.message)).field("remedy", std::string_view(refusal.remedy));
  json.end_object().end_object();
  return json.take() + '\n';
}

}  // namespace weir::wire
