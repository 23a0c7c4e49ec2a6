#include "supervisor/session/kept_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::supervisor {

namespace {

constexpr std::size_t kAtOnce = 64 * 1024;  // what a pipe holds: one process does not keep the others waiting

}  // namespace

struct KeptOutput::Readable : sys::EventHandler {
  explicit Readable(KeptOutput* output) : owner(output) {}
  void on_events(std::uint32_t) override {
    if (owner != nullptr) owner->on_readable();
  }

  KeptOutput* owner;  // null: it is gone
};

KeptOutput::KeptOutput(sys::Reactor& reactor, const sys::OwnedFd& folder, std::string name,
                       std::function<void()> on_grown, Budget& budget, std::uint64_t max_bytes)
    : reactor_(reactor),
      folder_(folder),
      name_(std::move(name)),
      on_grown_(std::move(on_grown)),
      budget_(budget),
      max_bytes_(max_bytes),
      handler_(std::make_unique<Readable>(this)) {}

Result<std::unique_ptr<KeptOutput>> KeptOutput::create(sys::Reactor& reactor, const sys::OwnedFd& folder,
                                                       std::string name, std::function<void()> on_grown, Budget& budget,
                                                       std::uint64_t max_bytes) {
  WEIR_TRY(sys::Pipe pipe, sys::make_pipe(sys::OwnEnd::reading));
  std::unique_ptr<KeptOutput> self(
      new KeptOutput(reactor, folder, std::move(name), std::move(on_grown), budget, max_bytes));
  self->reader_ = std::move(pipe.reading);
  self->writer_ = std::move(pipe.writing);
  WEIR_TRY(self->file_, sys::checked_fd(::openat(folder.get(), self->name_.c_str(),
                                                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600),
                                        "cannot keep what a process prints"));
  WEIR_CHECK_OK(reactor.watch(self->reader_.get(), EPOLLIN, *self->handler_));
  return self;
}

KeptOutput::~KeptOutput() {
  close_pipe();
  handler_->owner = nullptr;
  reactor_.retire(std::move(handler_));
  ::unlinkat(folder_.get(), name_.c_str(), 0);
  budget_.left += bytes_;
}

void KeptOutput::close_pipe() {
  if (reader_.valid()) reactor_.forget(reader_.get());
  reader_.reset();
  file_.reset();
}

void KeptOutput::on_readable() {
  const std::uint64_t before = bytes_;
  move_some();
  if (bytes_ != before) on_grown_();
}

bool KeptOutput::move_some() {
  if (!reader_.valid()) return false;
  const std::uint64_t room = std::min(max_bytes_ - bytes_, budget_.left);
  const bool keeps = !drops_ && room != 0;
  if (!keeps && !drops_) start_dropping();
  const auto most = keeps ? std::min<std::uint64_t>(kAtOnce, room) : kAtOnce;
  const ssize_t moved = ::splice(reader_.get(), nullptr, file_.get(), nullptr, most, SPLICE_F_NONBLOCK);
  if (moved > 0) {
    (keeps ? bytes_ : dropped_) += static_cast<std::uint64_t>(moved);
    if (keeps) budget_.left -= static_cast<std::uint64_t>(moved);
    return true;
  }
  if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (moved == 0 || !keeps) {
    close_pipe();
    return false;
  }
  // The disk is full, or fails.
  start_dropping();
  return true;
}

// In the place of the file, so that there is a descriptor to be had.
void KeptOutput::start_dropping() {
  drops_ = true;
  file_.reset();
  file_ = sys::OwnedFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
}

void KeptOutput::drain() {
  // A pipe holds 16 pieces, each of which may be a byte or a page.
  constexpr int kPieces = 32;
  for (int i = 0; i < kPieces && move_some(); ++i) {
  }
}

Result<sys::OwnedFd> KeptOutput::open() const {
  return sys::checked_fd(::openat(folder_.get(), name_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC),
                         "cannot open what a process printed");
}

}  // namespace weir::supervisor
