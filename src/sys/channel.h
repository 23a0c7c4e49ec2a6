// A SOCK_SEQPACKET pair end: whole messages, each with at most one descriptor.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

class Channel {
 public:
  Channel() = default;
  explicit Channel(OwnedFd fd) : fd_(std::move(fd)) {}
  // Both ends close-on-exec and non-blocking.
  static Result<std::pair<Channel, Channel>> pair();

  // Sends one message. `passed` (-1: none) is duplicated into the peer. EAGAIN is an error with that code: the peer has
  // stopped reading.
  Result<> send(Bytes message, int passed = -1);
  // As send(), with plain send(2): for a process that may not call sendmsg.
  Result<> send_plain(Bytes message);

  struct Received {
    Bytes message;  // into the caller's buffer
    OwnedFd passed;
    enum class State : std::uint8_t { message, nothing, closed } state = State::nothing;
  };
  // Never blocks. A message longer than the buffer is an error: nothing is cut off silently.
  Result<Received> receive(MutableBytes buffer);

  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  OwnedFd take() { return std::move(fd_); }

 private:
  OwnedFd fd_;
};

}  // namespace weir::sys
