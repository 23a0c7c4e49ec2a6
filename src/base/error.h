// Errors are values with context.
//
// An operation that can fail returns Result<T>; the Error says what was attempted, why it failed, and what the user
// can do about it. WEIR_TRY / WEIR_CHECK_OK pass an error on, optionally after `.context()` named the outer attempt.
// Denials are not errors (policy::Verdict), "not now" is not an error (sys::Io), and a bug aborts (WEIR_ASSERT).
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weir {

class [[nodiscard]] Error {
 public:
  // `code` is an errno value, or 0 where the failure has none.
  explicit Error(std::string what, int code = 0) : what_(std::move(what)), code_(code) {}

  // One line without a newline: outermost context first, then the cause.
  const std::string& what() const { return what_; }
  int code() const { return code_; }
  // What the user can do; empty where nothing is known to help.
  const std::string& remedy() const { return remedy_; }

  // Puts the outer attempt in front: "cannot start the gateway: " + what().
  Error context(std::string_view outer) && {
    what_ = std::string(outer) + ": " + what_;
    return std::move(*this);
  }
  Error with_remedy(std::string remedy) && {
    remedy_ = std::move(remedy);
    return std::move(*this);
  }

 private:
  std::string what_;
  std::string remedy_;
  int code_ = 0;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(std::string what, int code = 0) {
  return std::unexpected(Error(std::move(what), code));
}

// Adds context to the error of a result; values pass untouched.
template <class T>
Result<T> in_context(Result<T> result, std::string_view outer) {
  if (result) return result;
  return std::unexpected(std::move(result).error().context(outer));
}

// Prints to stderr and aborts: the process is in a state that the code does not understand. Never for input.
[[noreturn]] void bug(const char* condition, const char* file, int line);

}  // namespace weir

#define WEIR_CONCAT_INNER(a, b) a##b
#define WEIR_CONCAT(a, b) WEIR_CONCAT_INNER(a, b)

// WEIR_TRY(auto fd, open_file(path)); declares `fd` with the value, or returns the error.
#define WEIR_TRY(declaration, expression) WEIR_TRY_AS(WEIR_CONCAT(weir_try_, __LINE__), declaration, expression)
#define WEIR_TRY_AS(temporary, declaration, expression)                 \
  auto temporary = (expression);                                        \
  if (!temporary) return std::unexpected(std::move(temporary).error()); \
  declaration = std::move(*temporary)

// WEIR_CHECK_OK(write_file(path, text)); returns the error if there is one.
#define WEIR_CHECK_OK(expression)                                                                              \
  do {                                                                                                         \
    if (auto weir_status = (expression); !weir_status) return std::unexpected(std::move(weir_status).error()); \
  } while (false)

#define WEIR_ASSERT(condition) ((condition) ? static_cast<void>(0) : ::weir::bug(#condition, __FILE__, __LINE__))
