// What of the public interface has other words behind it.
#pragma once

#include <string_view>

#include "weir/failure.h"
#include "weir/mode.h"
#include "weir/sandbox_builder.h"
#include "wire/session_error.h"

namespace weir::library {

// As `-n` and the policy spell it.
std::string_view name_of(Mode mode);
// As the third part of `-v`, with its colon; empty for the default.
std::string_view suffix_of(Share share);

std::unexpected<Failure> failed(const wire::Refusal& refusal);
std::unexpected<Failure> failed(const Error& error);
std::unexpected<Failure> failed(wire::ErrorCode code, std::string message, std::string remedy = {});

}  // namespace weir::library

// As WEIR_TRY, where the error becomes a Failure.
#define WEIR_LIBRARY_TRY(declaration, expression) \
  WEIR_LIBRARY_TRY_AS(WEIR_CONCAT(weir_try_, __LINE__), declaration, expression)
#define WEIR_LIBRARY_TRY_AS(temporary, declaration, expression)      \
  auto temporary = (expression);                                     \
  if (!temporary) return ::weir::library::failed(temporary.error()); \
  declaration = std::move(*temporary)
#define WEIR_LIBRARY_CHECK(expression)                                                                      \
  do {                                                                                                      \
    if (auto weir_status = (expression); !weir_status) return ::weir::library::failed(weir_status.error()); \
  } while (false)
