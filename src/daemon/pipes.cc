#include "daemon/pipes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/waiter.h"
#include "sys/errno.h"

namespace weir::daemon {

namespace {

constexpr unsigned kStallSeconds = 30;
constexpr std::size_t kSplice = 65536;  // what a pipe holds by default (pipe(7))

Moved moved_of(ssize_t count) {
  if (count > 0) return {.bytes = static_cast<std::size_t>(count)};
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  return {.state = Moved::State::ended};
}

}  // namespace

Moved read_some(int fd, MutableBytes into) {
  return moved_of(::read(fd, into.data(), into.size()));
}

Moved write_some(int fd, std::string_view bytes) {
  return moved_of(::write(fd, bytes.data(), bytes.size()));
}

Result<ForeignPipe> ForeignPipe::take(sys::OwnedFd fd) {
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0 || !S_ISFIFO(info.st_mode)) return fail("what the session passed is no pipe");
  WEIR_TRY(sys::Pipe own, sys::make_pipe(sys::OwnEnd::reading));
  return ForeignPipe(std::move(fd), std::move(own));
}

Moved ForeignPipe::read_some(MutableBytes into) {
  const std::size_t wanted = std::min(into.size(), kSplice);
  const ssize_t count = ::splice(fd_.get(), nullptr, own_.writing.get(), nullptr, wanted, SPLICE_F_NONBLOCK);
  if (count <= 0) return moved_of(count);
  return moved_of(::read(own_.reading.get(), into.data(), static_cast<std::size_t>(count)));
}

Moved ForeignPipe::write_some(std::string_view bytes) {
  Moved taken;
  if (kept_ == 0 && !bytes.empty()) {
    // An empty pipe takes as much as it can hold without waiting.
    taken = moved_of(::write(own_.writing.get(), bytes.data(), std::min(bytes.size(), kSplice)));
    kept_ = taken.bytes;
  }
  while (kept_ > 0) {
    const ssize_t count = ::splice(own_.reading.get(), nullptr, fd_.get(), nullptr, kept_, SPLICE_F_NONBLOCK);
    const Moved out = moved_of(count);
    if (out.state == Moved::State::ended) return {.state = Moved::State::ended, .bytes = taken.bytes};
    if (out.bytes == 0) break;
    kept_ -= out.bytes;
  }
  return taken;
}

Task<wire::Answer<>> write_all(Executor executor, ForeignPipe& pipe, std::string_view bytes) {
  Waiter waiter(executor, pipe.fd());
  while (!bytes.empty() || pipe.kept() > 0) {
    const std::size_t kept = pipe.kept();
    const Moved moved = pipe.write_some(bytes);
    if (moved.state == Moved::State::ended) co_return wire::refuse(wire::ErrorCode::gone, "nobody reads it any more");
    bytes.remove_prefix(moved.bytes);
    if (pipe.kept() == 0 || pipe.kept() < kept) continue;
    const Waited waited = co_await waiter.writable(in_seconds(kStallSeconds));
    if (waited == Waited::ready) continue;
    co_return wire::refuse(wire::ErrorCode::timeout, "nobody reads it", "see whether the command waits for something");
  }
  co_return wire::Answer<>();
}

bool is_regular_file(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace weir::daemon
