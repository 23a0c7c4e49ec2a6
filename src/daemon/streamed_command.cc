#include "daemon/streamed_command.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdlib>

#include "daemon/pipes.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::daemon {

namespace {

using wire::ErrorCode;
using wire::refuse;

constexpr std::size_t kPiece = 256u << 10;
constexpr std::size_t kMaxError = 65536;
enum Tag : int { kOut, kErr, kClient };

// What it says on standard error, as far as it is of use.
bool take_error(int fd, std::string& text) {
  std::vector<std::uint8_t> buffer(4096);
  while (true) {
    const Moved moved = read_some(fd, buffer);
    if (moved.state == Moved::State::ended) return false;
    if (moved.bytes == 0) return true;
    if (text.size() < kMaxError) text += as_text(Bytes(buffer).first(moved.bytes));
  }
}

}  // namespace

Result<> Spooled::open(const std::string& folder) {
  std::string name = folder + "/XXXXXX";
  WEIR_TRY(file_, sys::checked_fd(::mkostemp(name.data(), O_CLOEXEC), "cannot keep the body"));
  path_ = std::move(name);
  return {};
}

Spooled::~Spooled() {
  if (sum_ == nullptr) return;
  *sum_ -= bytes_;
  if (!path_.empty()) ::unlink(path_.c_str());
}

wire::Answer<> Spooled::append(Bytes bytes, std::uint64_t left) {
  if (bytes.size() > left || *sum_ > left - bytes.size()) {
    return refuse(ErrorCode::limit, "the archive is longer than what this token may still keep on the disk",
                  "delete snapshots, or ask the machine's owner: weir serve --max-disk-per-token");
  }
  bytes_ += bytes.size();
  *sum_ += bytes.size();
  const auto written = sys::write_whole(file_, "the body", bytes);
  if (written) return {};
  const bool full = written.error().code() == ENOSPC || written.error().code() == EDQUOT;
  return refuse(full ? ErrorCode::limit : ErrorCode::internal, written.error());
}

Task<wire::Answer<Spooled>> spool_body(Call& call, std::uint64_t left) {
  const std::uint64_t most = call.daemon.limits.put_bytes;
  const auto too_large = [] { return refuse(ErrorCode::too_large, "the archive is longer than weir serve takes"); };
  if (call.exchange.head().content_length.value_or(0) > most) co_return too_large();
  Spooled spooled(call.daemon, call.who);
  if (const auto opened = spooled.open(call.daemon.spool); !opened) co_return internal(opened.error());
  std::vector<std::uint8_t> buffer(kPiece);
  while (true) {
    const auto count = co_await call.exchange.read_body(buffer);
    WEIR_CO_CHECK(count);
    if (*count == 0) break;
    if (spooled.bytes() + *count > most) co_return too_large();
    WEIR_CO_CHECK(spooled.append(Bytes(buffer).first(*count), left));
  }
  co_return spooled;
}

Task<Outcome> send_output(Call& call, std::vector<std::string> words, std::string type) {
  const auto place = co_await call.daemon.transfers.enter(owner_key(call.who));
  WEIR_CO_CHECK(place);
  const sys::OwnedFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto out = sys::make_pipe(sys::OwnEnd::reading);
  auto err = sys::make_pipe(sys::OwnEnd::reading);
  auto watch = Watch::create(call.daemon.executor);
  if (!out || !err || !watch) co_return internal(Error("cannot make a pipe"));
  auto running = RunningCommand::start(call.daemon, {.words = std::move(words)}, nothing.get(), out->writing.get(),
                                       err->writing.get());
  if (!running) co_return internal(running.error());
  out->writing.reset();
  err->writing.reset();
  static_cast<void>(watch->add(out->reading.get(), EPOLLIN, kOut));
  static_cast<void>(watch->add(err->reading.get(), EPOLLIN, kErr));
  static_cast<void>(watch->add(call.exchange.fd(), EPOLLRDHUP, kClient));
  Ended ended;
  std::vector<std::uint8_t> buffer(kPiece);
  while (true) {
    const Watch::Ready ready = co_await watch->wait(kNever);
    if (ready.late || ready.has(kClient)) co_return nobody_there();
    if (ready.has(kErr) && !take_error(err->reading.get(), ended.err)) watch->remove(err->reading.get());
    if (!ready.has(kOut)) continue;
    const Moved moved = read_some(out->reading.get(), buffer);
    if (moved.state == Moved::State::ended) break;
    if (moved.bytes == 0) continue;
    if (!call.exchange.has_begun()) {
      call.exchange.keep_pace();
      const bool begun = co_await call.exchange.begin_stream(200, type);
      if (!begun) co_return nobody_there();
    }
    const bool taken = co_await call.exchange.write(as_text(Bytes(buffer).first(moved.bytes)));
    if (!taken) co_return nobody_there();
  }
  // Its end of the pipe is closed; it ends now.
  Waiter waiter(call.daemon.executor, running->pidfd());
  const Waited waited = co_await waiter.readable(in_seconds(60));
  if (waited != Waited::ready) co_return refuse(ErrorCode::unavailable, "weir does not come to its end");
  ended.exit_code = running->exit_code();
  if (ended.exit_code != 0) co_return std::unexpected(refusal_of(ended));
  const bool closed = co_await call.exchange.end_stream();
  if (!closed) co_return nobody_there();
  co_return streamed(200);
}

}  // namespace weir::daemon
