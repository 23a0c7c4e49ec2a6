#include "cli/session/byte_mover.h"

#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/failure_line.h"
#include "cli/table.h"
#include "sys/errno.h"
#include "sys/reactor.h"

namespace weir::cli {
namespace {

constexpr std::uint64_t kFirstLineMs = 1'000;
constexpr std::uint64_t kLinesEachMs = 200;
constexpr std::size_t kChunk = std::size_t{4} << 20;  // of sendfile(): large enough, and progress is seen
constexpr std::size_t kBuffer = std::size_t{256} << 10;

// The side that failed: EPIPE and the errors of full disks are those of who writes.
std::unexpected<Error> moving_failed(const std::string& from, const std::string& to) {
  const bool writing = errno == EPIPE || errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  return sys::errno_error(writing ? "cannot write " + to : "cannot read " + from);
}

Result<> write_all(int to, const std::string& name, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t put = ::write(to, bytes, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return sys::errno_error("cannot write " + name);
    bytes += put;
    size -= static_cast<std::size_t>(put);
  }
  return {};
}

}  // namespace

ProgressLine::ProgressLine(const std::string& what, std::uint64_t total, Progress progress)
    : what_(printable(what)),
      total_(total),
      shown_ms_(sys::monotonic_ms() + kFirstLineMs - kLinesEachMs),
      wanted_(progress == Progress::shown && ::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void ProgressLine::add(std::uint64_t bytes) {
  done_ += bytes;
  if (!wanted_ || sys::monotonic_ms() < shown_ms_ + kLinesEachMs) return;
  shown_ms_ = sys::monotonic_ms();
  shown_ = true;
  std::string line = what_ + ": " + short_size(done_);
  if (total_ > 0)
    line +=
        " of " + short_size(total_) + " (" + std::to_string(std::min<std::uint64_t>(done_ * 100 / total_, 100)) + "%)";
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
}

Result<std::uint64_t> move_bytes(int from, const std::string& from_name, int to, const std::string& to_name,
                                 ProgressLine& progress, std::uint64_t most) {
  std::uint64_t moved = 0;
  // What is no file on this side, or is appended to on that, the kernel does not move by itself.
  while (moved < most) {
    const ssize_t sent =
        ::sendfile(to, from, nullptr, static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, most - moved)));
    if (sent == 0) return moved;
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EINVAL || errno == ENOSYS)) break;
    if (sent < 0) return moving_failed(from_name, to_name);
    moved += static_cast<std::uint64_t>(sent);
    progress.add(static_cast<std::uint64_t>(sent));
  }
  const auto buffer = std::make_unique<char[]>(kBuffer);
  while (moved < most) {
    const ssize_t got =
        ::read(from, buffer.get(), static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, most - moved)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::errno_error("cannot read " + from_name);
    if (got == 0) return moved;
    WEIR_CHECK_OK(write_all(to, to_name, buffer.get(), static_cast<std::size_t>(got)));
    moved += static_cast<std::uint64_t>(got);
    progress.add(static_cast<std::uint64_t>(got));
  }
  return moved;
}

}  // namespace weir::cli
