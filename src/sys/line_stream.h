// Lines over a unix stream socket, with the descriptors that come with each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/channel.h"

namespace weir::sys {

class LineStream {
 public:
  struct Line {
    std::string text;  // without its newline
    std::vector<OwnedFd> passed;
  };
  // Descriptors that one line may bring.
  static constexpr std::size_t kMaxPassed = 4;

  LineStream() = default;
  // A SOCK_STREAM unix socket; it becomes non-blocking. `max_line`: bytes of a line that is received, its newline
  // included.
  static Result<LineStream> of(OwnedFd socket, std::size_t max_line);

  enum class State : std::uint8_t { open, closed };
  // Takes what has come, without waiting. Closed: the peer will send nothing more. Errors: EMSGSIZE, a line is longer
  // than it may be or brings too many descriptors; others of the socket.
  Result<State> read();
  // The next whole line that was read.
  std::optional<Line> next();
  // Something was read that next() has not given yet: a line, or the beginning of one.
  bool has_more() const { return !lines_.empty() || !half_.text.empty(); }

  // Sends a line, newline included, with its descriptors, which are duplicated. Waits while the peer does not read, but
  // not beyond `deadline_ms` (monotonic_ms(); 0: not at all): an error with the code ETIMEDOUT, after which the stream
  // is of no use.
  Result<> send(std::string_view line, std::span<const int> passed, std::uint64_t deadline_ms);
  // The same without waiting: how many bytes the kernel took, `passed` with the first of them. An error: the stream is
  // of no use.
  Result<std::size_t> send_some(std::string_view line, std::span<const int> passed);
  // Waits for a line. Nothing: the peer has closed. ETIMEDOUT where none came by then.
  Result<std::optional<Line>> receive(std::uint64_t deadline_ms);

  // Ready to be read when read() has something to take.
  int fd() const { return channel_.fd(); }
  bool valid() const { return channel_.valid(); }
  void close() { channel_ = Channel(); }

 private:
  LineStream(Channel channel, std::size_t max_line) : channel_(std::move(channel)), max_line_(max_line) {}
  Result<> take(std::string_view bytes, std::vector<OwnedFd> passed);
  Result<> wait(short events, std::uint64_t deadline_ms) const;

  Channel channel_;
  std::size_t max_line_ = 0;
  std::deque<Line> lines_;
  Line half_;
};

}  // namespace weir::sys
