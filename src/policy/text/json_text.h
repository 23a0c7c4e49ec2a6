// Writing the small JSON documents of this room (the audit room has its own, of the same level).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::policy {

// A string literal with quotes; everything outside printable ASCII becomes an escape, bytes that are no UTF-8 U+FFFD.
std::string json_quote(std::string_view text);

// One object or array. Members come in the order of the calls.
class JsonText {
 public:
  static JsonText object() { return JsonText('{', '}'); }
  static JsonText array() { return JsonText('[', ']'); }

  JsonText& add(std::string_view key, std::string_view value) { return add_raw(key, json_quote(value)); }
  JsonText& add(std::string_view key, std::uint64_t value) { return add_raw(key, std::to_string(value)); }
  // `json` is a finished document.
  JsonText& add_raw(std::string_view key, std::string_view json);
  JsonText& push(std::string_view value) { return push_raw(json_quote(value)); }
  JsonText& push_raw(std::string_view json);

  std::string text() const { return text_ + close_; }

 private:
  JsonText(char open, char close) : text_(1, open), close_(close) {}
  void separate();

  std::string text_;
  char close_;
};

}  // namespace weir::policy
