#include "daemon/attached_run.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "daemon/pipes.h"
#include "sys/errno.h"

namespace weir::daemon {

namespace {

constexpr std::size_t kBuffer = 65536;
// Twice what the two pipes can hold (fs.pipe-max-size is 1 MiB).
constexpr std::size_t kMaxAfterExit = 4u << 20;
using Happened = AttachedRun::Happened;

}  // namespace

Task<wire::Answer<AttachedRun>> AttachedRun::start(Daemon& daemon, std::string session, const Principal& who,
                                                   wire::RunProcess run, std::string stdin_text, int client) {
  auto call = co_await SessionCall::open(daemon, std::move(session), who);
  WEIR_CO_CHECK(call);
  auto watch = Watch::create(daemon.executor);
  auto in = sys::make_pipe(sys::OwnEnd::writing);
  auto out = sys::make_pipe(sys::OwnEnd::reading);
  auto err = sys::make_pipe(sys::OwnEnd::reading);
  if (!watch) co_return internal(watch.error());
  if (!in || !out || !err) co_return internal(Error("cannot make a pipe"));
  AttachedRun made(std::move(*call), std::move(*watch));
  WEIR_CO_CHECK(made.call_.send(run, {in->reading.get(), out->writing.get(), err->writing.get()}));
  in->reading.reset();
  out->writing.reset();
  err->writing.reset();
  made.in_ = std::move(in->writing);
  made.out_ = std::move(out->reading);
  made.err_ = std::move(err->reading);
  made.stdin_text_ = std::move(stdin_text);
  made.buffer_.resize(kBuffer);
  auto reply = co_await made.call_.receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(reply);
  const auto* const started = reply->as<wire::StartedProcess>();
  if (started == nullptr) co_return internal(Error("the session says something else than what it started"));
  made.pid_ = started->pid;
  WEIR_CO_CHECK(made.watch_all(client));
  co_return made;
}

wire::Answer<> AttachedRun::watch_all(int client) {
  if (stdin_text_.empty()) in_.reset();
  const auto add = [&](int fd, std::uint32_t events, Tag tag) { return fd < 0 || watch_.add(fd, events, tag); };
  if (add(out_.get(), EPOLLIN, kOut) && add(err_.get(), EPOLLIN, kErr) && add(in_.get(), EPOLLOUT, kIn) &&
      add(call_.fd(), EPOLLIN, kSession) && add(client, EPOLLRDHUP, kClient)) {
    return {};
  }
  return internal(Error("cannot watch what a command prints"));
}

void AttachedRun::feed() {
  const Moved moved = write_some(in_.get(), std::string_view(stdin_text_).substr(fed_));
  fed_ += moved.bytes;
  if (moved.state == Moved::State::more && fed_ < stdin_text_.size()) return;
  watch_.remove(in_.get());
  in_.reset();
  stdin_text_ = {};
}

// Whether there is something: it fills the buffer.
bool AttachedRun::take(sys::OwnedFd& fd) {
  if (!fd.valid()) return false;
  buffer_.resize(kBuffer);
  const Moved moved = read_some(fd.get(), {reinterpret_cast<std::uint8_t*>(buffer_.data()), buffer_.size()});
  if (moved.state == Moved::State::ended) {
    watch_.remove(fd.get());
    fd.reset();
    return false;
  }
  buffer_.resize(moved.bytes);
  return moved.bytes > 0;
}

std::optional<Happened> AttachedRun::look_at_session() {
  const auto failed = [](wire::Refusal refusal) {
    return Happened{.what = Happened::What::failed, .refusal = std::move(refusal)};
  };
  if (const auto read = call_.read(); !read) return failed(read.error());
  while (auto reply = call_.next()) {
    if (!*reply) return failed(reply->error());
    const auto* const exited = (*reply)->as<wire::ExitedProcess>();
    if (exited == nullptr) continue;
    exited_ = *exited;
    watch_.remove(call_.fd());
    return std::nullopt;
  }
  return std::nullopt;
}

Task<Happened> AttachedRun::next() {
  using What = Happened::What;
  while (true) {
    if (exited_) {
      // What it printed is in the pipes by now; what it left running may hold them open and is not waited for.
      // It may go on to fill them, too.
      const bool more = after_exit_ < kMaxAfterExit;
      const bool out = more && take(out_);
      const bool err = more && !out && take(err_);
      after_exit_ += buffer_.size();
      if (out || err) co_return Happened{.what = out ? What::out : What::err, .bytes = buffer_};
      co_return Happened{.what = What::exited, .exited = *exited_};
    }
    const Watch::Ready ready = co_await watch_.wait(kNever);
    if (ready.late || ready.has(kClient)) co_return Happened{.what = What::gone};
    if (ready.has(kIn)) feed();
    if (ready.has(kSession)) {
      if (auto ended = look_at_session()) co_return std::move(*ended);
      if (exited_) continue;
    }
    if (ready.has(kOut) && take(out_)) co_return Happened{.what = What::out, .bytes = buffer_};
    if (ready.has(kErr) && take(err_)) co_return Happened{.what = What::err, .bytes = buffer_};
  }
}

}  // namespace weir::daemon
