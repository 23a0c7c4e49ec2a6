#include "wire/http1.h"

namespace weir::wire {

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
    case Phase::body: {
      const std::size_t used = body_.take(bytes);
      if (body_.state() == http1::BodyReader::State::bad) refuse(HttpFault::malformed);
      if (body_.state() == http1::BodyReader::State::done) end_of_message();
      return used;
    }
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

void RequestStream::take_head(std::uint8_t byte) {
  held_ += static_cast<char>(byte);
  if (held_.size() > kMaxHead) return refuse(HttpFault::malformed);
  switch (line_.take(byte)) {
    case http1::LineReader::State::more:
      return;
    case http1::LineReader::State::bad:
      return refuse(HttpFault::malformed);
    case http1::LineReader::State::whole:
      return take_head_line();
  }
}

void RequestStream::take_head_line() {
  const bool first = lines_++ == 0;
  if (!first && line_.text().empty()) {
    auto head = parser_.finish();
    if (!head) return refuse(head.error());
    head_ = std::move(*head);
    ++requests_;
    phase_ = Phase::judging;
    return;
  }
  const auto fault = first ? parser_.request_line(line_.text()) : parser_.field(line_.text());
  line_.clear();
  if (fault) refuse(*fault);
}

Bytes RequestStream::approve() {
  WEIR_ASSERT(phase_ == Phase::judging);
  approved_ = true;
  phase_ = Phase::body;
  body_.begin(head_.framing, head_.body_size);
  if (body_.state() == http1::BodyReader::State::done) end_of_message();
  return as_bytes(held_);
}

void RequestStream::end_of_message() {
  phase_ = head_.is_connect || head_.upgrade_requested ? Phase::paused : Phase::head;
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
