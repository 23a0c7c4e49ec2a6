// A filter over the guest's side of an HTTP/1 connection: every request on it must be judged.
//
// RequestStream walks heads and bodies of successive requests. It decides nothing; it makes sure that the caller can:
//
//   Step step = stream.feed(chunk);
//   forward chunk[0, step.pass)                     body bytes of requests that were approved
//   chunk[step.pass, step.consumed)                 was taken into the head that is being collected
//   step.event == head:    judge stream.head(); if it may go: forward stream.approve(); then feed the rest of the chunk
//   step.event == paused:  upgrade or CONNECT: see below
//   step.event == refused: stream.fault(); reset the connection
//
// Nothing of a head leaves before approve(); feed() repeats the event until then. What is passed has been checked byte
// by byte, so the server frames it in the same way.
//
// After a request that asks for an upgrade, and after CONNECT, the next bytes are HTTP or not depending on what the
// server answers. The stream takes none of them until the caller has seen the answer and says which:
// continue_http() or continue_opaque().
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "wire/http1_framing.h"
#include "wire/http1_head.h"
#include "wire/http1_prefix.h"

namespace weir::wire {

class RequestStream {
 public:
  static constexpr std::size_t kMaxHead = 65536;  // policy.md section 4: the first flight's limit

  enum class Event : std::uint8_t { none, head, paused, refused };
  struct Step {
    Event event = Event::none;
    std::size_t consumed = 0;  // of the chunk; all of it if `event` is none
    std::size_t pass = 0;      // may be forwarded; at most `consumed`
  };

  Step feed(Bytes chunk);

  // The head last reported; valid from its event to the next one.
  const RequestHead& head() const { return head_; }
  // The body of the approved request is not at its end.
  bool in_body() const { return phase_ == Phase::body; }
  // How many heads were reported.
  std::uint64_t request_count() const { return requests_; }
  // Call once after the event `head`: its raw bytes, to be forwarded before anything else. Valid until the next feed().
  Bytes approve();

  // Call while paused.
  void continue_http();
  // From now on everything passes, unread. Only when the server has answered this very request with 101, or 2xx to
  // CONNECT: a server that declined goes on reading requests, which would then pass unjudged.
  void continue_opaque();

  // Why the stream is refused.
  HttpFault fault() const { return fault_; }

 private:
  enum class Phase : std::uint8_t {
    head,     // collecting into held_
    judging,  // a whole head waits for approve()
    body,     // of the approved request
    paused,
    opaque,
    refused,
  };

  void begin_head();
  std::size_t take(Bytes bytes);
  void take_head(std::uint8_t byte);
  void take_head_line();
  void end_of_message();
  void refuse(HttpFault fault);
  bool passes() const;

  Phase phase_ = Phase::head;
  HttpFault fault_ = HttpFault::malformed;
  RequestHead head_;
  RequestHeadParser parser_;
  std::string held_;       // the raw head
  bool approved_ = false;  // held_ was handed out and ends with the next feed()
  std::size_t lines_ = 0;  // of the head so far
  http1::LineReader line_;
  http1::BodyReader body_;
  std::uint64_t requests_ = 0;
};

}  // namespace weir::wire
