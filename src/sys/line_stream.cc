#include "sys/line_stream.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "sys/errno.h"
#include "sys/reactor.h"

namespace weir::sys {

Result<LineStream> LineStream::of(OwnedFd socket, std::size_t max_line) {
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return errno_error("cannot prepare a connection");
  return LineStream(Channel(std::move(socket)), max_line);
}

// The kernel ends a reception with the piece that brought descriptors (unix_stream_read_generic), so they belong to the
// line that its last byte is of.
Result<> LineStream::take(std::string_view bytes, std::vector<OwnedFd> passed) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    half_.text.append(bytes.substr(0, end));
    if (half_.text.size() >= max_line_) return fail("a line is longer than it may be", EMSGSIZE);
    const bool whole = end < bytes.size();
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (bytes.empty()) {
      if (half_.passed.size() + passed.size() > kMaxPassed) return fail("a line brings too many descriptors", EMSGSIZE);
      std::ranges::move(passed, std::back_inserter(half_.passed));
    }
    if (!whole) return {};
    lines_.push_back(std::move(half_));
    half_ = Line();
  }
  return {};
}

Result<LineStream::State> LineStream::read() {
  std::array<std::uint8_t, 64 * 1024> buffer;
  WEIR_TRY(auto received, channel_.receive(buffer, kMaxPassed));
  if (received.state == Channel::Received::State::closed) return State::closed;
  WEIR_CHECK_OK(take(as_text(received.message), std::move(received.passed)));
  return State::open;
}

std::optional<LineStream::Line> LineStream::next() {
  if (lines_.empty()) return std::nullopt;
  Line line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

Result<> LineStream::wait(short events, std::uint64_t deadline_ms) const {
  while (true) {
    const std::uint64_t now = monotonic_ms();
    if (now >= deadline_ms) return fail("the other side did not answer in time", ETIMEDOUT);
    constexpr std::uint64_t kLongest = 1'000'000;
    pollfd waiting{.fd = fd(), .events = events, .revents = 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::min(deadline_ms - now, kLongest)));
    if (ready < 0 && errno != EINTR) return errno_error("cannot wait for an answer");
    if (ready > 0) return {};
  }
}

Result<std::size_t> LineStream::send_some(std::string_view line, std::span<const int> passed) {
  std::size_t taken = 0;
  while (taken < line.size()) {
    const auto sent = channel_.send_some(as_bytes(line.substr(taken)), taken == 0 ? passed : std::span<const int>());
    if (!sent && sent.error().code() == EAGAIN) break;
    if (!sent && sent.error().code() != EINTR) return std::unexpected(sent.error());
    if (sent) taken += *sent;
  }
  return taken;
}

Result<> LineStream::send(std::string_view line, std::span<const int> passed, std::uint64_t deadline_ms) {
  while (true) {
    WEIR_TRY(const std::size_t sent, send_some(line, passed));
    if (sent == line.size()) return {};
    if (sent != 0) passed = {};
    line.remove_prefix(sent);
    WEIR_CHECK_OK(wait(POLLOUT, deadline_ms));
  }
}

Result<std::optional<LineStream::Line>> LineStream::receive(std::uint64_t deadline_ms) {
  while (true) {
    if (auto line = next()) return line;
    WEIR_CHECK_OK(wait(POLLIN, deadline_ms));
    WEIR_TRY(const State state, read());
    if (state == State::open) continue;
    if (auto line = next()) return line;
    return std::nullopt;
  }
}

}  // namespace weir::sys
