#include "wire/json_fields.h"

#include "base/failure_line.h"

namespace weir::wire {

namespace {

std::unexpected<Error> wrong_type(std::string_view key, const char* type) {
  return fail(quoted_key(key) + " is no " + type);
}

Result<std::string> text_of(std::string_view key, const Json& value) {
  if (!value.is_string()) return wrong_type(key, "text");
  auto text = value.get<std::string>();
  if (text.find('\0') != std::string::npos) return fail("a NUL character in " + quoted_key(key));
  return text;
}

}  // namespace

std::string quoted_key(std::string_view key) {
  return "'" + printable(std::string(key.substr(0, 60))) + "'";
}

const Json* JsonFields::member(const char* key) {
  const auto found = object_.find(key);
  if (found == object_.end()) return nullptr;
  taken_.insert(key);
  return &*found;
}

Result<> JsonFields::text(const char* key, std::string& out) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  WEIR_TRY(out, text_of(key, *value));
  return {};
}

Result<> JsonFields::text(const char* key, std::optional<std::string>& out) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  WEIR_TRY(out, text_of(key, *value));
  return {};
}

Result<> JsonFields::truth(const char* key, bool& out) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) return wrong_type(key, "truth value");
  out = value->get<bool>();
  return {};
}

Result<> JsonFields::integer(const char* key, std::int64_t& out) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  if (!value->is_number_integer()) return wrong_type(key, "whole number");
  if (value->is_number_unsigned() && value->get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())
    return fail(quoted_key(key) + " is out of range");
  out = value->get<std::int64_t>();
  return {};
}

Result<> JsonFields::bounded(const char* key, std::uint64_t& out, std::uint64_t least, std::uint64_t most) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  if (!value->is_number_unsigned()) return wrong_type(key, "whole number from 0 on");
  const auto number = value->get<std::uint64_t>();
  if (number < least || number > most) {
    return fail(quoted_key(key) + " is not between " + std::to_string(least) + " and " + std::to_string(most));
  }
  out = number;
  return {};
}

Result<> JsonFields::texts(const char* key, std::vector<std::string>& out) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return wrong_type(key, "list");
  if (value->size() > kMaxItems) return fail(quoted_key(key) + " is too long");
  out.clear();
  for (const Json& item : *value) {
    WEIR_TRY(out.emplace_back(), text_of(key, item));
  }
  return {};
}

Result<> JsonFields::pairs(const char* key, Pairs& out) {
  const Json* const value = member(key);
  if (value == nullptr) return {};
  if (!value->is_object()) return wrong_type(key, "object");
  if (value->size() > kMaxItems) return fail(quoted_key(key) + " is too long");
  out.clear();
  for (const auto& [name, item] : value->items()) {
    if (name.find('\0') != std::string::npos) return fail("a NUL character in " + quoted_key(key));
    WEIR_TRY(std::string text, text_of(name, item));
    out.emplace_back(name, std::move(text));
  }
  return {};
}

Result<> JsonFields::nothing_else() const {
  for (const auto& [key, value] : object_.items()) {
    if (!taken_.contains(key)) return fail("no key " + quoted_key(key) + " here");
  }
  return {};
}

}  // namespace weir::wire
