#include "wire/http1_prefix.h"

#include <string_view>

#include "wire/http1_chars.h"

namespace weir::wire {

namespace {

constexpr std::string_view kVersionPrefix = "http/";

// What some server or other takes for white space: ASCII, and what Latin-1 readers split at as well.
bool is_space(std::uint8_t byte) {
  return byte == ' ' || (byte >= 0x09 && byte <= 0x0d) || (byte >= 0x1c && byte <= 0x1f) || byte == 0x85 ||
         byte == 0xa0;
}

}  // namespace

HttpLook Http1Prefix::feed(Bytes chunk) {
  for (const std::uint8_t byte : chunk) {
    if (look_ != HttpLook::need_more) break;
    take(byte);
  }
  return look_;
}

void Http1Prefix::take(std::uint8_t byte) {
  switch (part_) {
    case Part::leading:
      if (is_space(byte)) return;
      part_ = Part::method;
      [[fallthrough]];
    case Part::method:
      return take_method(byte);
    case Part::rest:
      return take_rest(byte);
    case Part::version:
      look_ = byte == '2' ? HttpLook::h2c : HttpLook::http1;
      return;
  }
}

// No server has a method with a control character or a byte outside ASCII in it: binary protocols are recognised here.
void Http1Prefix::take_method(std::uint8_t byte) {
  if (is_space(byte) && byte != '\n') {
    part_ = Part::rest;
  } else if (byte < 0x20 || byte >= 0x7f) {
    look_ = HttpLook::no;
  }
}

// Only the end of the line says that no version comes any more.
void Http1Prefix::take_rest(std::uint8_t byte) {
  if (byte == '\n') {
    look_ = HttpLook::no;
    return;
  }
  const std::uint8_t lower = http1::lower(byte);
  if (lower == static_cast<std::uint8_t>(kVersionPrefix[matched_])) {
    ++matched_;
  } else {
    matched_ = lower == static_cast<std::uint8_t>(kVersionPrefix[0]) ? 1 : 0;
  }
  if (matched_ == kVersionPrefix.size()) part_ = Part::version;
}

HttpLook looks_like_http1(Bytes prefix) {
  return Http1Prefix().feed(prefix);
}

}  // namespace weir::wire
