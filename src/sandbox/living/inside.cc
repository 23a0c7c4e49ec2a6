#include "sandbox/living/inside.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/failure_line.h"
#include "control/texts.h"
#include "sandbox/living/inside_parts.h"
#include "sys/errno.h"
#include "sys/memory_file.h"

namespace weir::sandbox {
namespace {

// What waits for room in init's channel: more than every process and task that there may be.
constexpr std::size_t kMaxWaiting = 4096;
constexpr std::uint64_t kTryAgainMs = 1;
// The kernel counts the descriptors on their way for all programs of a user (unix(7), ETOOMANYREFS): another sandbox
// can keep them there, and no order of this one goes out.
constexpr std::uint64_t kInFlightPatienceMs = 1000;

// The master of a terminal: character device 5, 2 (Documentation/admin-guide/devices.txt).
bool is_terminal_master(const sys::OwnedFd& fd) {
  struct stat status{};
  return fd.valid() && ::fstat(fd.get(), &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(5, 2);
}

std::string quoted(const std::string& program) {
  return program.empty() ? "''" : program.substr(0, 200);
}

}  // namespace

Result<sys::OwnedFd> passed_texts(const std::vector<std::string>& texts) {
  WEIR_TRY(const auto bytes, control::encode_texts(texts));
  WEIR_TRY(sys::OwnedFd memory, sys::make_memory_file("weir-texts"));
  WEIR_CHECK_OK(sys::append(memory, bytes));
  WEIR_CHECK_OK(sys::seal(memory));
  return memory;
}

Inside::Inside(sys::Reactor& reactor, Send send, Break on_broken)
    : reactor_(reactor), send_(std::move(send)), on_broken_(std::move(on_broken)) {}

void Inside::later(std::function<void()> action) {
  after(0, std::move(action));
}

sys::Reactor::TimerId Inside::after(std::uint64_t ms, std::function<void()> action) {
  return reactor_.at(sys::monotonic_ms() + ms, [alive = std::weak_ptr(alive_), run = std::move(action)] {
    if (alive.lock()) run();
  });
}

void Inside::tell(control::ToInit order, std::vector<sys::OwnedFd> passed) {
  if (waiting_.size() >= kMaxWaiting)
    return on_broken_(Error("the sandbox was ended: its init takes no orders", ETIMEDOUT));
  waiting_.push_back({.order = std::move(order), .passed = std::move(passed), .asked_ms = sys::monotonic_ms()});
  if (waiting_.size() == 1) send_waiting();
}

// Where there is no room, nor for descriptors on their way, there soon will be. Init has to read, whatever is done to
// it; that descriptors find no room is not its fault, and costs the one request.
void Inside::send_waiting() {
  while (!waiting_.empty()) {
    const Order& first = waiting_.front();
    std::vector<int> passed;
    for (const sys::OwnedFd& fd : first.passed) passed.push_back(fd.get());
    const auto sent = send_(first.order, passed);
    const int code = sent ? 0 : sent.error().code();
    const std::uint64_t age = sys::monotonic_ms() - first.asked_ms;
    if (code == EAGAIN && age >= kInitPatienceMs) {
      waiting_.clear();
      return on_broken_(Error("the sandbox was ended: its init takes no orders", ETIMEDOUT));
    }
    if (code == ETOOMANYREFS && age >= kInFlightPatienceMs) {
      give_up(first);
    } else if (code == EAGAIN || code == ETOOMANYREFS) {
      after(kTryAgainMs, [this] { send_waiting(); });
      return;
    } else {
      // A failure: init is gone, which is told by the end of its channel.
      wait_for_end_of(first);
    }
    waiting_.pop_front();
  }
}

void Inside::wait_for_end_of(const Order& sent) {
  const auto* const start = std::get_if<control::StartProcess>(&sent.order);
  const auto found = start == nullptr ? processes_.end() : processes_.find(start->id);
  if (found == processes_.end()) return;
  found->second.deadline = after(kInitPatienceMs, [this] {
    on_broken_(Error("the sandbox was ended: something in it kept its init from beginning a process", ETIMEDOUT));
  });
}

void Inside::give_up(const Order& unsent) {
  const Error error = Error("too many descriptors of this user's programs are on their way", EAGAIN)
                          .with_remedy("try again; a program that sends descriptors and has nobody read them is why");
  if (const auto* process = std::get_if<control::StartProcess>(&unsent.order)) {
    auto node = processes_.extract(process->id);
    if (!node.empty())
      later([on_begun = std::move(node.mapped().on_begun), error] { on_begun(std::unexpected(error)); });
  } else if (const auto* task = std::get_if<control::StartFileTask>(&unsent.order)) {
    later([this, id = task->id, error] { finish(id, std::unexpected(error)); });
  }
}

Result<> Inside::check_room(std::size_t there, std::size_t most, const char* what) const {
  if (motion_ != Motion::moves) {
    return std::unexpected(
        Error("the sandbox stands still, and nothing begins in it", EBUSY).with_remedy("wait until it goes on"));
  }
  if (there < most) return {};
  return std::unexpected(Error("the sandbox has " + std::to_string(most) + " " + what + ", which is the limit", EAGAIN)
                             .with_remedy("wait until some have ended"));
}

Inside::Id Inside::start(const Program& program, Stdio stdio, OnBegun on_begun, OnEnded on_ended) {
  const Id id = ++last_id_;
  Process& process = processes_[id];
  process.on_begun = std::move(on_begun);
  process.on_ended = std::move(on_ended);
  process.name = program.argv.empty() ? "" : quoted(program.argv.front());
  process.folder = program.workdir;
  process.has_terminal = program.terminal;
  if (auto begun = begin(id, program, std::move(stdio)); !begun) {
    later([error = std::move(begun).error(), told = std::move(process.on_begun)] { told(std::unexpected(error)); });
    processes_.erase(id);
  }
  return id;
}

Result<> Inside::begin(Id id, const Program& program, Stdio stdio) {
  WEIR_CHECK_OK(check_room(processes_.size() - 1, kMaxProcesses, "processes"));  // it is among them
  if (program.argv.empty()) return fail("there is no program to run", EINVAL);
  std::vector<std::string> texts = {program.workdir};
  texts.insert(texts.end(), program.argv.begin(), program.argv.end());
  for (const auto& [name, value] : program.env) texts.push_back(name + "=" + value);
  std::vector<sys::OwnedFd> passed(1);
  WEIR_TRY(passed[0], passed_texts(texts));
  if (!program.terminal) {
    if (!stdio.in.valid() || !stdio.out.valid() || !stdio.err.valid())
      return fail("a process needs three standard descriptors", EBADF);
    for (sys::OwnedFd* fd : {&stdio.in, &stdio.out, &stdio.err}) passed.push_back(std::move(*fd));
  }
  tell(control::StartProcess{.id = id,
                             .arguments = static_cast<std::uint32_t>(program.argv.size()),
                             .terminal = program.terminal,
                             .rows = program.rows,
                             .columns = program.columns},
       std::move(passed));
  return {};
}

void Inside::signal(Id process, int number) {
  const auto found = processes_.find(process);
  if (found == processes_.end() || number < 1 || number >= NSIG) return;
  tell(control::SignalProcess{.id = process, .number = static_cast<std::uint8_t>(number)});
}

void Inside::resize(Id process, std::uint16_t rows, std::uint16_t columns) {
  const auto found = processes_.find(process);
  if (found == processes_.end() || !found->second.terminal.valid()) return;
  const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(found->second.terminal.get(), TIOCSWINSZ, &size);
}

std::size_t Inside::processes() const {
  return processes_.size();
}

bool Inside::is_at_work() const {
  return !processes_.empty() || !files_.empty() || !leaving_.empty();
}

bool Inside::take(const control::FromInit& message, sys::OwnedFd& passed) {
  if (const auto* started = std::get_if<control::ProcessStarted>(&message)) return take(*started, passed);
  if (passed.valid()) return false;
  if (const auto* failed = std::get_if<control::ProcessFailed>(&message)) return take(*failed);
  if (const auto* refused = std::get_if<control::ProcessNotExecuted>(&message)) return take(*refused);
  if (const auto* exited = std::get_if<control::ProcessExited>(&message)) return take(*exited);
  if (std::holds_alternative<control::StandsStill>(message)) return take_standstill({});
  const auto* moves = std::get_if<control::Moves>(&message);
  if (moves == nullptr) return false;
  return take_standstill(
      std::unexpected(Error("process " + std::to_string(moves->pid) + " (inside) does not stand still",
                            moves->code == 0 ? EPROTO : static_cast<int>(moves->code))
                          .with_remedy("end it, or try again")));
}

bool Inside::take(const control::ProcessStarted& started, sys::OwnedFd& passed) {
  const auto found = processes_.find(started.id);
  if (found == processes_.end() || found->second.begun) return false;
  Process& process = found->second;
  if (process.has_terminal ? !is_terminal_master(passed) : passed.valid()) return false;
  process.begun = true;
  reactor_.cancel(process.deadline);
  if (passed.valid()) process.terminal = sys::OwnedFd(::fcntl(passed.get(), F_DUPFD_CLOEXEC, 0));
  const OnBegun on_begun = std::move(process.on_begun);
  on_begun(Begun{.pid = started.pid, .terminal = std::move(passed)});
  return true;
}

bool Inside::take(const control::ProcessFailed& failed) {
  const auto found = processes_.find(failed.id);
  if (found == processes_.end() || found->second.begun) return false;
  const Process process = std::move(processes_.extract(found).mapped());
  reactor_.cancel(process.deadline);
  Error error(process.name + ": " + printable(failed.what), static_cast<int>(failed.code));
  if (failed.code == EAGAIN) error = std::move(error).with_remedy("end a process, or raise --pids");
  process.on_begun(std::unexpected(std::move(error)));
  return true;
}

bool Inside::take(const control::ProcessNotExecuted& refused) {
  using Step = control::ProcessNotExecuted::Step;
  const auto found = processes_.find(refused.id);
  if (found == processes_.end() || found->second.begun) return false;
  const Process process = std::move(processes_.extract(found).mapped());
  reactor_.cancel(process.deadline);
  const int code = static_cast<int>(refused.code);
  Ended ended;
  ended.status = W_EXITCODE(refused.step == Step::program && code == ENOENT ? 127 : 126, 0);
  const std::string what = refused.step == Step::folder ? "cannot start in " + process.folder + " (inside)"
                                                        : "cannot execute " + process.name;
  ended.not_executed = Error(what + ": " + sys::errno_text(code), code);
  process.on_begun(Begun{.pid = refused.pid, .terminal = {}});
  process.on_ended(std::move(ended));
  return true;
}

bool Inside::take(const control::ProcessExited& exited) {
  const auto found = processes_.find(exited.id);
  if (found == processes_.end() || !found->second.begun) return false;
  const Process process = std::move(processes_.extract(found).mapped());
  process.on_ended(Ended{.status = static_cast<int>(exited.how.status),
                         .user_us = exited.how.user_us,
                         .system_us = exited.how.system_us,
                         .max_rss_kib = exited.how.max_rss_kib});
  return true;
}

void Inside::freeze(OnDone on_done) {
  if (motion_ != Motion::moves) {
    later([on_done = std::move(on_done)] { on_done(fail("the sandbox stands still already", EBUSY)); });
    return;
  }
  motion_ = Motion::stopping;
  on_still_ = std::move(on_done);
  still_deadline_ = after(kInitPatienceMs, [this] {
    on_broken_(Error("the sandbox was ended: it could not be made to stand still", ETIMEDOUT));
  });
  tell(control::Freeze{});
}

bool Inside::take_standstill(Result<> how) {
  if (motion_ != Motion::stopping && motion_ != Motion::stopping_no_more) return false;
  reactor_.cancel(still_deadline_);
  if (how && motion_ == Motion::stopping_no_more) {
    tell(control::Thaw{});
    how = fail("the sandbox goes on", ECANCELED);
  }
  motion_ = how ? Motion::stands_still : Motion::moves;
  std::exchange(on_still_, nullptr)(std::move(how));
  return true;
}

void Inside::thaw() {
  if (motion_ == Motion::stopping) motion_ = Motion::stopping_no_more;
  if (motion_ != Motion::stands_still) return;
  motion_ = Motion::moves;
  tell(control::Thaw{});
}

}  // namespace weir::sandbox
