// Writing JSON text: the whole of what the project needs to emit lines and small documents.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

// A JSON string literal with quotes. Everything outside printable ASCII is escaped, so that no text of a guest can
// start a new line, move a cursor or end the string; bytes that are no UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

// Builds one object or array; commas are its business.
class JsonWriter {
 public:
  JsonWriter() = default;
  // Goes on in an object that `text` has begun and that has a member already.
  static JsonWriter within(std::string text) {
    JsonWriter json;
    json.text_ = std::move(text);
    json.first_ = false;
    return json;
  }

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(std::uint64_t number);
  JsonWriter& value(std::int64_t number);
  JsonWriter& value(bool truth);
  JsonWriter& null();

  template <class T>
  JsonWriter& field(std::string_view name, const T& content) {
    key(name);
    return value(content);
  }

  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  JsonWriter& raw(std::string_view text);
  void separate();

  std::string text_;
  bool first_ = true;
};

}  // namespace weir
