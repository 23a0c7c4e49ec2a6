// The server's side of an HTTP/1 connection, one response at a time.
//
// For an intermediary that must know where a response ends: what follows that end belongs to nobody, and is never taken
// for the answer to another request. As strict as RequestStream where receivers are known to frame differently.
//
//   ResponseStream stream(method);
//   Step step = stream.feed(chunk);
//   forward chunk[0, step.pass)            body bytes
//   step.event == head:  forward what becomes of stream.raw_head(), then feed the rest of the chunk
//   step.event == end:   the response is whole; bytes behind step.consumed are none of its own
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "base/bytes.h"
#include "wire/http1_framing.h"
#include "wire/http1_head.h"

namespace weir::wire {

struct ResponseHead {
  int status = 0;
  int minor_version = 1;
  BodyFraming framing = BodyFraming::none;
  std::uint64_t body_size = 0;  // for counted
  bool closes = false;          // the server ends the connection behind this response

  bool interim() const { return status < 200; }
};

class ResponseStream {
 public:
  static constexpr std::size_t kMaxHead = 65536;
  static constexpr std::size_t kMaxFields = 256;
  static constexpr unsigned kMaxInterim = 16;  // 1xx before the answer; servers send one or two

  enum class Event : std::uint8_t { none, head, end, refused };
  struct Step {
    Event event = Event::none;
    std::size_t consumed = 0;
    std::size_t pass = 0;
  };

  // `method` of the request: a response to HEAD has no body, whatever its head says, nor has a 2xx to CONNECT (RFC 9110
  // 9.3.6): what follows that is the tunnel.
  explicit ResponseStream(std::string_view method) : to_head_(method == "HEAD"), to_connect_(method == "CONNECT") {}

  // After `end` and `refused` nothing is taken any more.
  Step feed(Bytes chunk);
  // Of the head last reported, until the next feed().
  const ResponseHead& head() const { return head_; }
  std::string_view raw_head() const { return held_; }
  // Whether the response is whole when the server closes here.
  bool whole_at_close() const;

 private:
  enum class Phase : std::uint8_t { head, reported, body, ended, refused };

  std::size_t take(Bytes bytes);
  void take_head(std::uint8_t byte);
  void take_line();
  bool status_line(std::string_view line);
  bool field(std::string_view line);
  bool finish_head();
  void begin_body();

  bool to_head_;
  bool to_connect_;
  Phase phase_ = Phase::head;
  ResponseHead head_;
  std::string held_;
  http1::LineReader line_;
  http1::BodyReader body_;
  std::size_t lines_ = 0;
  unsigned interim_ = 0;
  bool has_length_ = false;
  bool has_coding_ = false;
  bool keep_alive_ = false;
};

}  // namespace weir::wire
