// Composing the small JSON documents of this room out of finished parts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace weir::policy {

// One object or array. Members come in the order of the calls.
class JsonText {
 public:
  static JsonText object() { return JsonText('{', '}'); }
  static JsonText array() { return JsonText('[', ']'); }

  JsonText& add(std::string_view key, std::string_view value) { return add_raw(key, json_string(value)); }
  JsonText& add(std::string_view key, std::uint64_t value) { return add_raw(key, std::to_string(value)); }
  // `json` is a finished document.
  JsonText& add_raw(std::string_view key, std::string_view json);
  JsonText& push(std::string_view value) { return push_raw(json_string(value)); }
  JsonText& push_raw(std::string_view json);

  std::string text() const { return text_ + close_; }

 private:
  JsonText(char open, char close) : text_(1, open), close_(close) {}
  void separate();

  std::string text_;
  char close_;
};

}  // namespace weir::policy
