#include "wire/http1_prefix.h"

#include <string_view>

#include "wire/http1_chars.h"

namespace weir::wire {

namespace {

constexpr std::string_view kVersionPrefix = "http/";

bool is_blank(std::uint8_t byte) {
  return byte == ' ' || byte == '\t';
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
      if (byte == '\r' || byte == '\n') return;
      part_ = Part::method;
      if (!http1::is_token_char(byte)) look_ = HttpLook::no;
      return;
    case Part::method:
      if (http1::is_token_char(byte)) return;
      part_ = Part::rest;
      matched_ = 1;
      if (!is_blank(byte)) look_ = HttpLook::no;
      return;
    case Part::rest:
      return take_rest(byte);
    case Part::version:
      look_ = byte == '2' ? HttpLook::h2c : HttpLook::http1;
      return;
  }
}

void Http1Prefix::take_rest(std::uint8_t byte) {
  if (is_blank(byte)) {
    matched_ = 1;
    return;
  }
  if (byte < 0x20 || byte == 0x7f) {
    look_ = HttpLook::no;
    return;
  }
  const bool matches = matched_ > 0 && http1::lower(byte) == static_cast<std::uint8_t>(kVersionPrefix[matched_ - 1]);
  matched_ = matches ? matched_ + 1 : 0;
  if (matched_ == kVersionPrefix.size() + 1) part_ = Part::version;
}

HttpLook looks_like_http1(Bytes prefix) {
  return Http1Prefix().feed(prefix);
}

}  // namespace weir::wire
