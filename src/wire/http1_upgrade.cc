#include "wire/http1_upgrade.h"

#include <algorithm>
#include <string_view>

#include "wire/http1_chars.h"

namespace weir::wire {

namespace {

using http1::equal_ignoring_case;

constexpr std::string_view kInterim = "HTTP/1.1 1";
constexpr std::string_view kSwitching = "HTTP/1.1 101";
constexpr std::string_view kWebSocket = "websocket";

}  // namespace

bool asks_for_websocket(const RequestHead& head) {
  return head.upgrade_requested && equal_ignoring_case(head.upgrade, kWebSocket) && head.method == "GET" &&
         head.minor_version == 1 && head.framing == BodyFraming::none;
}

Look WebSocketReply::feed(Bytes chunk) {
  for (const std::uint8_t byte : chunk) {
    if (look_ != Look::need_more) break;
    take(byte);
  }
  return look_;
}

void WebSocketReply::take(std::uint8_t byte) {
  if (++taken_ > kMaxBytes || (after_cr_ && byte != '\n') || (!after_cr_ && byte == '\n')) {
    look_ = Look::no;
  } else if (byte == '\n') {
    after_cr_ = false;
    take_line();
    line_.clear();
  } else if (byte == '\r') {
    after_cr_ = true;
  } else {
    line_ += static_cast<char>(byte);
    // Most answers are told here, at the tenth byte.
    if (!in_head_ &&
        !std::string_view(line_).substr(0, kInterim.size()).starts_with(kInterim.substr(0, line_.size()))) {
      look_ = Look::no;
    }
  }
}

void WebSocketReply::take_line() {
  if (!in_head_) {
    const std::string_view line = line_;
    const bool has_code = line.size() >= kSwitching.size() && line[10] >= '0' && line[10] <= '9' && line[11] >= '0' &&
                          line[11] <= '9' && (line.size() == kSwitching.size() || line[kSwitching.size()] == ' ');
    if (!has_code) {
      look_ = Look::no;
      return;
    }
    in_head_ = true;
    switching_ = line.starts_with(kSwitching);
    upgrades_ = 0;
  } else if (line_.empty()) {
    in_head_ = false;
    if (switching_) look_ = upgrades_ == 1 ? Look::yes : Look::no;
  } else {
    take_field();
  }
}

void WebSocketReply::take_field() {
  const auto field = parse_field(line_);
  if (!field) {
    look_ = Look::no;
  } else if (equal_ignoring_case(field->name, "upgrade")) {
    // Any other protocol here, also beside this one, leaves open what is spoken next.
    if (!equal_ignoring_case(field->value, kWebSocket)) look_ = Look::no;
    ++upgrades_;
  } else if (equal_ignoring_case(field->name, "content-length") ||
             equal_ignoring_case(field->name, "transfer-encoding")) {
    // RFC 9110 8.6, RFC 9112 6.1: not in a 1xx. Whoever sends them means something else.
    look_ = Look::no;
  }
}

}  // namespace weir::wire
