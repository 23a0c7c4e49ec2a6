#include "sandbox/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::sandbox {
namespace {

// A reader that takes nothing for so long is not waited for.
constexpr int kDrainMs = 10'000;
constexpr char kEndOfInput = 4;  // ^D, VEOF of a fresh terminal
constexpr int kStatusFlags = O_NONBLOCK | O_APPEND | O_ASYNC;

using Mode = TerminalKeeper::Mode;

// A terminal that was not put into another mode is ours to bring back only while the caller's job is in front of it:
// behind a `weir run ... &` an editor has its own modes.
bool in_front(int fd, pid_t group) {
  return ::tcgetpgrp(fd) == group;
}

// `group`: the supervisor's process group. A process in the background that sets terminal modes is stopped by SIGTTOU
// unless it is blocked. Nothing here waits for output to be taken: a stopped terminal would never take it.
void restore(int fd, const termios& modes, Mode mode, pid_t group) {
  if (mode == Mode::as_is && !in_front(fd, group)) return;
  sigset_t stops;
  sigset_t before;
  ::sigemptyset(&stops);
  ::sigaddset(&stops, SIGTTOU);
  ::sigprocmask(SIG_BLOCK, &stops, &before);
  ::tcsetattr(fd, TCSANOW, &modes);
  ::ioctl(fd, TIOCNXCL);
  // TCOON alone undoes TCOOFF only, and both together undo ^S as well, whose key the command may have chosen.
  ::tcflow(fd, TCOOFF);
  ::tcflow(fd, TCOON);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}

// A copy of the supervisor's descriptors would keep what they lead to alive after it. 0, 1 and 2 the guard needs.
void close_all_but(int one, int other) {
  unsigned first = STDERR_FILENO + 1;
  for (const int kept : {std::min(one, other), std::max(one, other)}) {
    if (kept <= STDERR_FILENO) continue;
    const auto number = static_cast<unsigned>(kept);
    if (number > first) ::close_range(first, number - 1, 0);
    first = number + 1;
  }
  ::close_range(first, ~0u, 0);
}

// Waits until every copy of the other end of the pipe is closed: the supervisor has died. A supervisor that ends
// properly kills the guard first.
[[noreturn]] void stand_guard(int fd, const termios& modes, Mode mode, const sys::OwnedFd& supervisor) {
  const StatusFlags flags = StatusFlags::now();
  const pid_t group = ::getpgrp();
  ::prctl(PR_SET_NAME, "weir-terminal", 0, 0, 0);
  close_all_but(fd, supervisor.get());
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  char byte = 0;
  while (::read(supervisor.get(), &byte, 1) < 0 && errno == EINTR) {
  }
  flags.put_back();
  restore(fd, modes, mode, group);
  ::_exit(0);
}

termios raw(termios modes) {
  ::cfmakeraw(&modes);
  return modes;
}

// A file description of our own, so that O_NONBLOCK is not set for whoever else has this terminal or pipe open.
// Files keep the position they share with the caller and are used as they are. What cannot be opened again (a socket,
// another user's terminal) must not block either: a reader that stalls would stop the whole supervisor.
Result<sys::OwnedFd> reopen(int fd, int flags) {
  const std::string what = "cannot use descriptor " + std::to_string(fd);
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys::errno_error(what);
  if (S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode)) {
    const std::string own = "/proc/self/fd/" + std::to_string(fd);
    sys::OwnedFd opened(::open(own.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (opened.valid()) return opened;
  }
  const int now = ::fcntl(fd, F_GETFL);
  if (!S_ISREG(status.st_mode) && (now < 0 || ::fcntl(fd, F_SETFL, now | O_NONBLOCK) != 0))
    return sys::errno_error(what);
  return sys::checked_fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0), what);
}

}  // namespace

StatusFlags StatusFlags::now() {
  StatusFlags found;
  for (std::size_t fd = 0; fd < found.flags_.size(); ++fd) found.flags_[fd] = ::fcntl(static_cast<int>(fd), F_GETFL);
  return found;
}

void StatusFlags::put_back() const {
  for (std::size_t i = 0; i < flags_.size(); ++i) {
    const int fd = static_cast<int>(i);
    const int set = ::fcntl(fd, F_GETFL);
    if (flags_[i] < 0 || set < 0 || ((set ^ flags_[i]) & kStatusFlags) == 0) continue;
    ::fcntl(fd, F_SETFL, (set & ~kStatusFlags) | (flags_[i] & kStatusFlags));
  }
}

Result<std::optional<TerminalKeeper>> TerminalKeeper::keep(int fd, Mode mode) {
  termios modes{};
  if (::tcgetattr(fd, &modes) != 0) return std::nullopt;
  // With the output in a pipe, what reads it (`| less`) may have the terminal.
  if (mode == Mode::as_is && !(in_front(fd, ::getpgrp()) && ::isatty(STDOUT_FILENO) == 1)) return std::nullopt;
  WEIR_TRY(auto pipe, sys::make_pipe());
  auto& [supervisor, alive] = pipe;
  WEIR_TRY(sys::ChildProcess guard, sys::ChildProcess::clone(0));
  if (guard.in_child()) {
    alive.reset();
    stand_guard(fd, modes, mode, supervisor);
  }
  TerminalKeeper keeper(fd, modes, mode, std::move(alive), std::move(guard));
  if (mode == Mode::raw) {
    const termios wanted = raw(modes);
    if (::tcsetattr(fd, TCSANOW, &wanted) != 0) return sys::errno_error("cannot put the terminal into raw mode");
  }
  return std::optional<TerminalKeeper>(std::move(keeper));
}

TerminalKeeper::TerminalKeeper(TerminalKeeper&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      modes_(other.modes_),
      suspended_(other.suspended_),
      mode_(other.mode_),
      alive_(std::move(other.alive_)),
      guard_(std::move(other.guard_)) {}

TerminalKeeper::~TerminalKeeper() {
  if (fd_ < 0) return;
  // In this order: killed in between, this process still leaves the terminal as it was.
  restore(fd_, modes_, mode_, ::getpgrp());
  guard_.kill();
}

void TerminalKeeper::suspend() {
  termios now{};
  if (fd_ < 0 || ::tcgetattr(fd_, &now) != 0) return;
  suspended_ = now;
  restore(fd_, modes_, mode_, ::getpgrp());
}

void TerminalKeeper::resume() {
  if (!suspended_ || !in_front(fd_, ::getpgrp())) return;
  ::tcsetattr(fd_, TCSANOW, &*suspended_);
  suspended_.reset();
}

ssize_t TerminalPump::Buffer::fill(int fd) {
  if (empty()) begin = end = 0;
  const ssize_t got = ::read(fd, bytes.data() + end, bytes.size() - end);
  if (got > 0) end += static_cast<std::size_t>(got);
  return got;
}

bool TerminalPump::Buffer::empty_into(int fd) {
  while (!empty()) {
    const ssize_t put = ::write(fd, bytes.data() + begin, end - begin);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno == EAGAIN;
    begin += static_cast<std::size_t>(put);
  }
  begin = end = 0;
  return true;
}

TerminalPump::TerminalPump(sys::Reactor& reactor, int master, int in, int out)
    : reactor_(reactor),
      master_(master),
      in_(in),
      out_(out),
      on_in_([this](std::uint32_t) { on_in(); }),
      on_master_([this](std::uint32_t events) { on_master(events); }),
      on_out_([this](std::uint32_t) { on_out(); }) {}

Result<std::unique_ptr<TerminalPump>> TerminalPump::start(sys::Reactor& reactor, int master, int in, int out) {
  const int flags = ::fcntl(master, F_GETFL);
  if (flags < 0 || ::fcntl(master, F_SETFL, flags | O_NONBLOCK) != 0)
    return sys::errno_error("cannot prepare the sandbox's terminal");
  WEIR_TRY(sys::OwnedFd input, reopen(in, O_RDONLY));
  WEIR_TRY(sys::OwnedFd output, reopen(out, O_WRONLY));
  std::unique_ptr<TerminalPump> pump(new TerminalPump(reactor, master, input.release(), output.release()));
  WEIR_CHECK_OK(pump->watch_all());
  return pump;
}

Result<> TerminalPump::watch_all() {
  WEIR_CHECK_OK(reactor_.watch(master_, EPOLLIN, on_master_));
  // Regular files cannot be watched and are always ready: output is then written as it comes, input typed as the
  // terminal takes it.
  out_watched_ = reactor_.watch(out_.get(), 0, on_out_).has_value();
  in_watched_ = reactor_.watch(in_.get(), EPOLLIN, on_in_).has_value();
  update();
  return {};
}

TerminalPump::~TerminalPump() {
  if (in_watched_) reactor_.forget(in_.get());
  if (out_watched_) reactor_.forget(out_.get());
  if (master_open_) reactor_.forget(master_);
}

void TerminalPump::on_in() {
  if (!in_open_ || !typed_.empty()) return;
  const ssize_t got = typed_.fill(in_.get());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    typed_.begin = 0;
    typed_.end = within_line_ ? 2 : 1;
    std::fill_n(typed_.bytes.begin(), typed_.end, kEndOfInput);
    if (in_watched_) reactor_.forget(in_.get());
    in_watched_ = false;
    in_open_ = false;
  } else {
    const char last = typed_.bytes[typed_.end - 1];
    within_line_ = last != '\n' && last != '\r';
  }
  if (!typed_.empty_into(master_)) typed_.begin = typed_.end;
  update();
}

void TerminalPump::on_master(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    if (!typed_.empty_into(master_)) typed_.begin = typed_.end;
    if (!in_watched_) on_in();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_master();
  update();
}

void TerminalPump::read_master() {
  if (!printed_.empty()) return;
  const ssize_t got = printed_.fill(master_);
  // EIO: nobody inside has the terminal open. The command may yet, or it has ended, which others will say.
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
    reactor_.forget(master_);
    master_open_ = false;
    return;
  }
  on_out();
}

void TerminalPump::on_out() {
  // An output that is gone (EPIPE) swallows the rest, as a closed window would.
  if (!printed_.empty_into(out_.get())) printed_.begin = printed_.end;
  update();
}

// Each side is watched for exactly what would let a buffer move.
void TerminalPump::update() {
  if (in_watched_) reactor_.change(in_.get(), typed_.empty() ? EPOLLIN : 0, on_in_);
  if (out_watched_) reactor_.change(out_.get(), printed_.empty() ? 0 : EPOLLOUT, on_out_);
  if (!master_open_) return;
  const std::uint32_t readable = printed_.empty() ? std::uint32_t{EPOLLIN} : 0;
  const bool more_to_type = !typed_.empty() || (in_open_ && !in_watched_);
  const std::uint32_t writable = more_to_type ? std::uint32_t{EPOLLOUT} : 0;
  reactor_.change(master_, readable | writable, on_master_);
}

void TerminalPump::drain() {
  while (true) {
    if (!printed_.empty_into(out_.get())) return;
    if (printed_.empty() && printed_.fill(master_) <= 0) return;
    if (printed_.empty_into(out_.get()) && printed_.empty()) continue;
    pollfd waiting{.fd = out_.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&waiting, 1, kDrainMs) <= 0) return;
  }
}

}  // namespace weir::sandbox
