#include "wire/http1.h"

#include <algorithm>

namespace weir::wire {

namespace {

// -1: no hexadecimal digit.
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

RequestStream::Step RequestStream::feed(Bytes chunk) {
  Step step;
  if (approved_) begin_head();
  for (;;) {
    if (phase_ == Phase::judging) step.event = Event::head;
    if (phase_ == Phase::paused) step.event = Event::paused;
    if (phase_ == Phase::refused) step.event = Event::refused;
    if (step.event != Event::none || step.consumed == chunk.size()) return step;
    const bool body = passes();
    const std::size_t used = take(chunk.subspan(step.consumed));
    step.consumed += used;
    // The byte that makes the stream refused is not passed on.
    if (body && phase_ != Phase::refused) step.pass = step.consumed;
  }
}

// Whether the bytes of the current phase may be forwarded as they come.
bool RequestStream::passes() const {
  return phase_ != Phase::head;
}

// Takes at least one byte, and as many more as need no look.
std::size_t RequestStream::take(Bytes bytes) {
  switch (phase_) {
    case Phase::head:
      take_head(bytes.front());
      return 1;
    case Phase::counted:
    case Phase::chunk_data: {
      const auto used = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
      left_ -= used;
      if (left_ == 0) end_of_data();
      return used;
    }
    case Phase::chunk_size:
    case Phase::chunk_end:
    case Phase::trailers:
      take_framing(bytes.front());
      return 1;
    case Phase::opaque:
      return bytes.size();
    case Phase::judging:
    case Phase::paused:
    case Phase::refused:
      break;
  }
  bug("a stream that waits takes no bytes", __FILE__, __LINE__);
}

void RequestStream::begin_head() {
  approved_ = false;
  held_.clear();
  parser_ = RequestHeadParser();
  lines_ = 0;
}

RequestStream::Line RequestStream::take_line_byte(std::uint8_t byte) {
  if (after_cr_) {
    after_cr_ = false;
    return byte == '\n' ? Line::whole : Line::bad;
  }
  if (byte == '\r') {
    after_cr_ = true;
    return Line::more;
  }
  // A bare LF is among these.
  if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return Line::bad;
  line_ += static_cast<char>(byte);
  return Line::more;
}

void RequestStream::take_head(std::uint8_t byte) {
  held_ += static_cast<char>(byte);
  if (held_.size() > kMaxHead) return refuse(HttpFault::malformed);
  switch (take_line_byte(byte)) {
    case Line::more:
      return;
    case Line::bad:
      return refuse(HttpFault::malformed);
    case Line::whole:
      return take_head_line();
  }
}

void RequestStream::take_head_line() {
  const bool first = lines_++ == 0;
  if (!first && line_.empty()) {
    auto head = parser_.finish();
    if (!head) return refuse(head.error());
    head_ = std::move(*head);
    ++requests_;
    phase_ = Phase::judging;
    return;
  }
  const auto fault = first ? parser_.request_line(line_) : parser_.field(line_);
  line_.clear();
  if (fault) refuse(*fault);
}

Bytes RequestStream::approve() {
  WEIR_ASSERT(phase_ == Phase::judging);
  approved_ = true;
  left_ = head_.body_size;
  switch (head_.framing) {
    case BodyFraming::none:
      end_of_message();
      break;
    case BodyFraming::counted:
      phase_ = Phase::counted;
      break;
    case BodyFraming::chunked:
      phase_ = Phase::chunk_size;
      break;
  }
  return as_bytes(held_);
}

void RequestStream::end_of_data() {
  if (phase_ == Phase::chunk_data) {
    phase_ = Phase::chunk_end;
  } else {
    end_of_message();
  }
}

void RequestStream::end_of_message() {
  phase_ = head_.is_connect || head_.upgrade_requested ? Phase::paused : Phase::head;
}

void RequestStream::take_framing(std::uint8_t byte) {
  const Line line = take_line_byte(byte);
  if (line == Line::bad) return refuse(HttpFault::malformed);
  switch (phase_) {
    case Phase::chunk_size:
      // Anything but digits, an extension for one, is refused at its first byte.
      if (line == Line::whole) return take_chunk_size();
      if (line_.size() > kMaxChunkDigits || (!line_.empty() && hex_value(line_.back()) < 0)) break;
      return;
    case Phase::chunk_end:
      if (!line_.empty()) break;
      if (line == Line::whole) phase_ = Phase::chunk_size;
      return;
    case Phase::trailers:
      if (++trailer_bytes_ > kMaxTrailers) break;
      if (line == Line::whole) take_trailer();
      return;
    case Phase::head:
    case Phase::judging:
    case Phase::counted:
    case Phase::chunk_data:
    case Phase::paused:
    case Phase::opaque:
    case Phase::refused:
      break;
  }
  refuse(HttpFault::malformed);
}

void RequestStream::take_chunk_size() {
  if (line_.empty()) return refuse(HttpFault::malformed);
  left_ = 0;
  for (const char c : line_) left_ = left_ * 16 + static_cast<std::uint64_t>(hex_value(c));
  line_.clear();
  if (left_ > kMaxChunk) return refuse(HttpFault::malformed);
  trailer_bytes_ = 0;
  phase_ = left_ == 0 ? Phase::trailers : Phase::chunk_data;
}

void RequestStream::take_trailer() {
  if (line_.empty()) return end_of_message();
  const auto field = parse_field(line_);
  if (!field || is_forbidden_trailer(field->name)) return refuse(HttpFault::malformed);
  line_.clear();
}

void RequestStream::continue_http() {
  WEIR_ASSERT(phase_ == Phase::paused);
  phase_ = Phase::head;
}

void RequestStream::continue_opaque() {
  WEIR_ASSERT(phase_ == Phase::paused);
  phase_ = Phase::opaque;
}

void RequestStream::refuse(HttpFault fault) {
  phase_ = Phase::refused;
  fault_ = fault;
}

}  // namespace weir::wire
