// A SOCK_SEQPACKET pair end: whole messages, with descriptors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

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

  // Descriptors that one message may carry; the kernel's own limit is 253.
  static constexpr std::size_t kMaxPassed = 64;

  // Sends one message. What is in `passed` is duplicated into the peer. EAGAIN is an error with that code: the peer has
  // stopped reading.
  Result<> send(Bytes message, std::span<const int> passed);
  // The same on a stream, which may take a part only: how many bytes it took.
  Result<std::size_t> send_some(Bytes bytes, std::span<const int> passed);
  // `passed`: -1 for none.
  Result<> send(Bytes message, int passed = -1) {
    return send(message, std::span<const int>(&passed, passed < 0 ? 0u : 1u));
  }
  // As send(), with plain write(2): for a process that may not call sendmsg and ignores SIGPIPE.
  Result<> send_plain(Bytes message);

  struct Received {
    Bytes message;  // into the caller's buffer
    std::vector<OwnedFd> passed;
    enum class State : std::uint8_t { message, nothing, closed } state = State::nothing;

    // The descriptor of a message that has at most one; not valid when it has none.
    OwnedFd take_passed() { return passed.empty() ? OwnedFd() : std::move(passed.front()); }
  };
  // Never blocks. A message longer than the buffer, or with more than `most_passed` (up to kMaxPassed) descriptors, is
  // an error: nothing is cut off silently.
  Result<Received> receive(MutableBytes buffer, std::size_t most_passed = 1);

  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  OwnedFd take() { return std::move(fd_); }

 private:
  OwnedFd fd_;
};

}  // namespace weir::sys
