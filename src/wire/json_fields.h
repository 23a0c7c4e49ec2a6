// The members of a JSON object, taken one by one with their types; what nobody took is an error.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json_document.h"

namespace weir::wire {

class JsonFields {
 public:
  // Of any list or object.
  static constexpr std::size_t kMaxItems = 4096;
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  // `object` must be one, and outlive this.
  explicit JsonFields(const Json& object) : object_(object) {}

  // Each leaves `out` as it is where the member is absent. Errors name the member. Texts hold no NUL.
  Result<> text(const char* key, std::string& out);
  Result<> text(const char* key, std::optional<std::string>& out);
  Result<> truth(const char* key, bool& out);
  Result<> integer(const char* key, std::int64_t& out);
  Result<> texts(const char* key, std::vector<std::string>& out);
  // An object of texts, in the order of its keys.
  Result<> pairs(const char* key, Pairs& out);
  // A whole number between the two.
  template <class Number>
  Result<> number(const char* key, Number& out, std::uint64_t least = 0,
                  std::uint64_t most = std::numeric_limits<Number>::max()) {
    auto value = static_cast<std::uint64_t>(out);
    WEIR_CHECK_OK(bounded(key, value, least, most));
    out = static_cast<Number>(value);
    return {};
  }

  // Null where it is absent.
  const Json* member(const char* key);
  bool has(const char* key) const { return object_.contains(key); }
  // An error where there is a member that nobody took.
  Result<> nothing_else() const;

 private:
  Result<> bounded(const char* key, std::uint64_t& out, std::uint64_t least, std::uint64_t most);

  const Json& object_;
  std::set<std::string, std::less<>> taken_;
};

// A text member for errors: escaped and cut.
std::string quoted_key(std::string_view key);

}  // namespace weir::wire
