#include "wire/http1_response.h"

#include "wire/http1_chars.h"

namespace weir::wire {

using http1::equal_ignoring_case;

ResponseStream::Step ResponseStream::feed(Bytes chunk) {
  Step step;
  if (phase_ == Phase::reported) begin_body();
  for (;;) {
    if (phase_ == Phase::reported) step.event = Event::head;
    if (phase_ == Phase::ended) step.event = Event::end;
    if (phase_ == Phase::refused) step.event = Event::refused;
    if (step.event != Event::none || step.consumed == chunk.size()) return step;
    const bool body = phase_ == Phase::body;
    step.consumed += take(chunk.subspan(step.consumed));
    if (body && phase_ != Phase::refused) step.pass = step.consumed;
  }
}

std::size_t ResponseStream::take(Bytes bytes) {
  if (phase_ == Phase::head) {
    take_head(bytes.front());
    return 1;
  }
  const std::size_t used = body_.take(bytes);
  if (body_.state() == http1::BodyReader::State::bad) phase_ = Phase::refused;
  if (body_.state() == http1::BodyReader::State::done) phase_ = Phase::ended;
  return used;
}

void ResponseStream::take_head(std::uint8_t byte) {
  held_ += static_cast<char>(byte);
  const auto state = held_.size() > kMaxHead ? http1::LineReader::State::bad : line_.take(byte);
  if (state == http1::LineReader::State::bad) phase_ = Phase::refused;
  if (state == http1::LineReader::State::whole) take_line();
}

void ResponseStream::take_line() {
  const bool first = lines_++ == 0;
  const std::string& text = line_.text();
  const bool last = !first && text.empty();
  const bool good = first ? status_line(text) : last ? finish_head() : lines_ <= kMaxFields && field(text);
  line_.clear();
  if (!good) {
    phase_ = Phase::refused;
  } else if (last) {
    phase_ = Phase::reported;
  }
}

// RFC 9112 4. The blank before an empty reason is left out by some servers.
bool ResponseStream::status_line(std::string_view line) {
  constexpr std::size_t kVersionAndStatus = 12;
  if (!line.starts_with("HTTP/1.") || line.size() < kVersionAndStatus || line[8] != ' ') return false;
  if (line[7] != '0' && line[7] != '1') return false;
  if (line.size() > kVersionAndStatus && line[kVersionAndStatus] != ' ') return false;
  head_.minor_version = line[7] - '0';
  for (std::size_t i = 9; i < kVersionAndStatus; ++i) {
    if (line[i] < '0' || line[i] > '9') return false;
    head_.status = head_.status * 10 + (line[i] - '0');
  }
  return head_.status >= 100 && head_.status <= 599;
}

bool ResponseStream::field(std::string_view line) {
  const auto field = parse_field(line);
  if (!field) return false;
  if (equal_ignoring_case(field->name, "content-length")) {
    const auto length = parse_length(field->value);
    if (has_length_ || !length) return false;
    has_length_ = true;
    head_.body_size = *length;
  } else if (equal_ignoring_case(field->name, "transfer-encoding")) {
    if (has_coding_ || !equal_ignoring_case(field->value, "chunked")) return false;
    has_coding_ = true;
  } else if (equal_ignoring_case(field->name, "connection")) {
    bool good = true;
    for_each_element(field->value, [&](std::string_view option) {
      if (equal_ignoring_case(option, "close")) head_.closes = true;
      if (equal_ignoring_case(option, "keep-alive")) keep_alive_ = true;
      if (decides_framing_or_routing(option)) good = false;
    });
    return good;
  }
  return true;
}

// RFC 9112 6.3.
bool ResponseStream::finish_head() {
  if (has_length_ && has_coding_) return false;
  if (has_coding_ && head_.minor_version == 0) return false;
  // Nothing here asks for another protocol.
  if (head_.status == 101) return false;
  if (head_.interim()) return ++interim_ <= kMaxInterim && !has_length_ && !has_coding_;
  if (head_.minor_version == 0 && !keep_alive_) head_.closes = true;
  const bool tunnel = to_connect_ && head_.status < 300;
  if (to_head_ || tunnel || head_.status == 204 || head_.status == 304) {
    head_.framing = BodyFraming::none;
  } else if (has_coding_) {
    head_.framing = BodyFraming::chunked;
  } else if (has_length_) {
    head_.framing = BodyFraming::counted;
  } else {
    head_.framing = BodyFraming::until_close;
    head_.closes = true;
  }
  return true;
}

// What follows the head that was reported: the next head behind an interim one, or the body.
void ResponseStream::begin_body() {
  held_.clear();
  if (head_.interim()) {
    head_ = {};
    lines_ = 0;
    keep_alive_ = false;
    phase_ = Phase::head;
    return;
  }
  body_.begin(head_.framing, head_.body_size);
  phase_ = body_.state() == http1::BodyReader::State::done ? Phase::ended : Phase::body;
}

bool ResponseStream::whole_at_close() const {
  return phase_ == Phase::ended || (phase_ == Phase::body && head_.framing == BodyFraming::until_close);
}

}  // namespace weir::wire
