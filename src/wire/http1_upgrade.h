// Tells whether a server took up a WebSocket (RFC 6455 4.2.2).
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "wire/http1_head.h"
#include "wire/look.h"

namespace weir::wire {

// A request that becomes a WebSocket if the server agrees. Narrower than "has Upgrade": one token, no body, HTTP/1.1;
// any other protocol the server may choose (h2c for one) would carry names that nobody reads.
bool asks_for_websocket(const RequestHead& head);

// Reads the server's side of a connection from its first byte, until it is clear whether the first answer is 101 to a
// WebSocket. Interim answers (1xx without 101, RFC 9110 15.2) in front of it are skipped. Only the first answer is
// looked at, so nothing hangs on how a server frames its bodies: no length is believed, and none can be lied about.
class WebSocketReply {
 public:
  static constexpr std::size_t kMaxBytes = 16384;  // heads together; beyond it the answer is `no`

  // Takes the next bytes of the stream; stays once it is not need_more.
  Look feed(Bytes chunk);
  Look look() const { return look_; }

 private:
  void take(std::uint8_t byte);
  void take_line();
  void take_field();

  Look look_ = Look::need_more;
  std::string line_;
  bool after_cr_ = false;
  bool in_head_ = false;    // behind a status line
  bool switching_ = false;  // ... of 101
  unsigned upgrades_ = 0;   // fields of this head that say `Upgrade: websocket`
  std::size_t taken_ = 0;
};

}  // namespace weir::wire
