#include "cli/session/standard_streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::cli {
namespace {

Result<> refuse_folder(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys::errno_error("cannot look at descriptor " + std::to_string(fd));
  if (!S_ISDIR(status.st_mode)) return {};
  return std::unexpected(
      Error("descriptor " + std::to_string(fd) + " is a folder of this machine, which no process inside may have")
          .with_remedy("redirect it to a file, a pipe or /dev/null"));
}

}  // namespace

// From one to the other; the pipe never blocks, and what it does not take is waited with.
class StandardStreams::Pump {
 public:
  // One of them is the terminal, which stays the caller's, the other the pipe.
  Pump(sys::Reactor& reactor, int terminal, sys::OwnedFd pipe, bool inward)
      : reactor_(reactor),
        pipe_(std::move(pipe)),
        from_(inward ? terminal : pipe_.get()),
        to_(inward ? pipe_.get() : terminal),
        on_from_([this](std::uint32_t) { carry(); }),
        on_to_([this](std::uint32_t) { flush(); }) {}
  ~Pump() { close(); }
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  Result<> begin() { return reactor_.watch(from_, EPOLLIN, on_from_); }

  void drain() {
    while (pipe_.valid() && from_ == pipe_.get() && carry()) {
    }
  }

 private:
  // False: nothing more for now.
  bool carry() {
    const ssize_t got = ::read(from_, buffer_.data(), buffer_.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got <= 0) {
      close();
      return false;
    }
    begin_ = 0;
    end_ = static_cast<std::size_t>(got);
    return flush();
  }

  bool flush() {
    while (begin_ < end_) {
      const ssize_t put = ::write(to_, buffer_.data() + begin_, end_ - begin_);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) {
        wait_for_room();
        return false;
      }
      if (put < 0) {
        close();
        return false;
      }
      begin_ += static_cast<std::size_t>(put);
    }
    if (!waits_) return true;
    waits_ = false;
    reactor_.forget(to_);
    if (!reactor_.watch(from_, EPOLLIN, on_from_)) close();
    return true;
  }

  void wait_for_room() {
    if (waits_) return;
    waits_ = true;
    reactor_.forget(from_);
    if (!reactor_.watch(to_, EPOLLOUT, on_to_)) close();
  }

  void close() {
    if (!pipe_.valid()) return;
    reactor_.forget(waits_ ? to_ : from_);
    pipe_.reset();
  }

  sys::Reactor& reactor_;
  sys::OwnedFd pipe_;
  int from_;
  int to_;
  sys::CallbackHandler on_from_;
  sys::CallbackHandler on_to_;
  bool waits_ = false;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::array<char, 16 * 1024> buffer_;
};

Result<std::unique_ptr<StandardStreams>> StandardStreams::prepare(sys::Reactor& reactor) {
  std::unique_ptr<StandardStreams> streams(new StandardStreams(reactor));
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    WEIR_CHECK_OK(refuse_folder(standard));
    if (::isatty(standard) == 1) WEIR_CHECK_OK(streams->replace(standard));
  }
  return streams;
}

StandardStreams::StandardStreams(sys::Reactor& reactor) : reactor_(reactor) {}
StandardStreams::~StandardStreams() = default;

Result<> StandardStreams::replace(int standard) {
  const bool inward = standard == STDIN_FILENO;
  WEIR_TRY(sys::Pipe pipe, sys::make_pipe(inward ? sys::OwnEnd::writing : sys::OwnEnd::reading));
  sys::OwnedFd& ours = inward ? pipe.writing : pipe.reading;
  sys::OwnedFd& theirs = inward ? pipe.reading : pipe.writing;
  given_[static_cast<std::size_t>(standard)] = theirs.get();
  theirs_.push_back(std::move(theirs));
  pumps_.push_back(std::make_unique<Pump>(reactor_, standard, std::move(ours), inward));
  return {};
}

Result<> StandardStreams::begin() {
  theirs_.clear();
  for (const auto& pump : pumps_) WEIR_CHECK_OK(pump->begin());
  return {};
}

void StandardStreams::drain() {
  for (const auto& pump : pumps_) pump->drain();
}

}  // namespace weir::cli
