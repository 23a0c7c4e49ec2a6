#include "sys/line_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/errno.h"

namespace weir::sys {

namespace {

constexpr std::size_t kChunk = 64u << 10;

}  // namespace

Result<LineFile> LineFile::open(const std::string& path) {
  // O_NONBLOCK: a FIFO must not hang; it is refused below.
  WEIR_TRY(OwnedFd fd,
           checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), "cannot read " + path));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return errno_error("cannot look at " + path);
  if (!S_ISREG(status.st_mode)) return fail(path + ": not a regular file");
  return LineFile(std::move(fd), path);
}

Result<std::optional<std::string>> LineFile::next_line(std::size_t max_bytes) {
  while (true) {
    if (auto line = take_line(max_bytes)) return line;
    WEIR_TRY(const bool more, read_more());
    if (!more) return std::nullopt;
  }
}

std::optional<std::string> LineFile::take_line(std::size_t max_bytes) {
  const std::size_t end = pending_.find('\n', searched_);
  searched_ = end == std::string::npos ? pending_.size() : 0;
  if (overlong_) {
    pending_.erase(0, end == std::string::npos ? end : end + 1);
    searched_ = 0;
    if (end == std::string::npos) return std::nullopt;
    overlong_ = false;
    return take_line(max_bytes);
  }
  if (end != std::string::npos) {
    std::string line = pending_.substr(0, std::min(end, max_bytes + 1));
    pending_.erase(0, end + 1);
    return line;
  }
  if (pending_.size() <= max_bytes) return std::nullopt;
  std::string line = pending_.substr(0, max_bytes + 1);
  pending_.clear();
  searched_ = 0;
  overlong_ = true;
  return line;
}

Result<bool> LineFile::read_more() {
  const std::size_t before = pending_.size();
  pending_.resize(before + kChunk);
  ssize_t got = 0;
  do {
    got = ::read(fd_.get(), pending_.data() + before, kChunk);
  } while (got < 0 && errno == EINTR);
  pending_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return errno_error("cannot read " + path_);
  read_ += static_cast<std::uint64_t>(got);
  if (got > 0) return true;
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) return errno_error("cannot look at " + path_);
  if (static_cast<std::uint64_t>(status.st_size) < read_) return fail(path_ + ": became shorter while it was read");
  return false;
}

Result<> LineFile::watch() {
  WEIR_TRY(changes_, checked_fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "cannot watch " + path_));
  // By the descriptor: another file may have taken the name meanwhile.
  const std::string same = "/proc/self/fd/" + std::to_string(fd_.get());
  if (::inotify_add_watch(changes_.get(), same.c_str(), IN_MODIFY | IN_CLOSE_WRITE) < 0)
    return errno_error("cannot watch " + path_);
  return {};
}

Result<> LineFile::wait(int timeout_ms) {
  if (!changes_.valid()) {
    WEIR_CHECK_OK(watch());
    return {};  // what came before the watch stood is read first
  }
  pollfd waiting{.fd = changes_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, timeout_ms) < 0 && errno != EINTR) return errno_error("cannot watch " + path_);
  std::array<char, 4096> buffer;
  while (::read(changes_.get(), buffer.data(), buffer.size()) > 0) {
  }
  return {};
}

}  // namespace weir::sys
