#include "supervisor/record/audit_log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "audit/event_line.h"
#include "supervisor/record/events_sweep.h"
#include "supervisor/state_folder.h"
#include "sys/errno.h"
#include "sys/files.h"

namespace weir::supervisor {

namespace {

constexpr std::uint64_t kRollUpMs = 1000;

// `more`: O_EXCL, or nothing.
Result<sys::OwnedFd> open_file(const std::string& path, int more) {
  auto fd = sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | more, 0600),
                            "cannot write events to " + path);
  if (fd) return fd;
  return std::unexpected(std::move(fd).error().with_remedy("name another file with --events FILE, or --events none"));
}

// The number of the sandbox's last whole line, among the last lines of the file; 0 where none can be read.
std::uint64_t last_sequence(const std::string& path, off_t size, std::string_view sandbox) {
  const sys::OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  std::string text(2 * audit::kMaxLine, '\0');
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(text.size()));
  const ssize_t got = file.valid() ? ::pread(file.get(), text.data(), text.size(), from) : 0;
  std::string_view rest(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  std::uint64_t last = 0;
  for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    const auto line = audit::parse_line(rest.substr(0, end));
    if (line && line->sandbox == sandbox) last = std::max(last, line->sequence);
    rest.remove_prefix(end + 1);
  }
  return last;
}

ssize_t write_now(int fd, std::string_view lines) {
  pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&writable, 1, 0) == 1) return ::write(fd, lines.data(), lines.size());
  errno = EAGAIN;
  return -1;
}

// Few and short, and they take something away or end it: they find room beyond the end of a full record.
bool is_always_taken(audit::EventType type) {
  return type == audit::EventType::policy_update || type == audit::EventType::run_exit ||
         type == audit::EventType::sandbox_asleep || type == audit::EventType::sandbox_awake;
}

}  // namespace

audit::Timestamp wall_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {.seconds = now.tv_sec, .microseconds = static_cast<std::uint32_t>(now.tv_nsec / 1000)};
}

AuditLog::AuditLog(const audit::Envelope& envelope, sys::OwnedFd fd, std::string path, EventsSink::Kind kind)
    : envelope_(envelope), writer_(envelope), fd_(std::move(fd)), path_(std::move(path)), kind_(kind) {
  struct stat info{};
  regular_ = fd_.valid() && ::fstat(fd_.get(), &info) == 0 && S_ISREG(info.st_mode);
}

Result<AuditLog> AuditLog::open(const EventsSink& sink, const audit::Envelope& envelope) {
  return open(sink, envelope, Default::must_be_new);
}

Result<AuditLog> AuditLog::open_again(const EventsSink& sink, const audit::Envelope& envelope, std::uint64_t sequence) {
  WEIR_TRY(AuditLog log, open(sink, envelope, Default::may_be_there));
  log.go_on(sequence);
  return log;
}

// Whoever was killed while it wrote its last lines has not said how far it came: the record itself does.
void AuditLog::go_on(std::uint64_t sequence) {
  sequence_ = committed_sequence_ = sequence;
  struct stat info{};
  if (!regular_ || ::fstat(fd_.get(), &info) != 0) return;
  written_ = static_cast<std::uint64_t>(info.st_size);
  sequence_ = committed_sequence_ = std::max(sequence, last_sequence(path_, info.st_size, envelope_.sandbox));
}

Result<AuditLog> AuditLog::open(const EventsSink& sink, const audit::Envelope& envelope, Default file) {
  switch (sink.kind) {
    case EventsSink::Kind::none:
      return AuditLog(envelope, {}, {}, sink.kind);
    case EventsSink::Kind::standard_output: {
      WEIR_TRY(sys::OwnedFd fd,
               sys::checked_fd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "cannot write events to standard output"));
      return AuditLog(envelope, std::move(fd), {}, sink.kind);
    }
    case EventsSink::Kind::file: {
      WEIR_TRY(sys::OwnedFd fd, open_file(sink.path, 0));
      mark_as_written(fd.get());
      return AuditLog(envelope, std::move(fd), sink.path, sink.kind);
    }
    case EventsSink::Kind::default_file:
      break;
  }
  WEIR_TRY(const std::string folder, default_events_folder());
  if (auto made = sys::make_folders(folder); !made) {
    return std::unexpected(std::move(made).error().with_remedy("name a file with --events FILE, or --events none"));
  }
  std::string path = folder + "/" + envelope.sandbox + ".jsonl";
  WEIR_TRY(sys::OwnedFd fd, open_file(path, file == Default::must_be_new ? O_EXCL : O_NOFOLLOW));
  mark_as_written(fd.get());
  if (sweeps(envelope.sandbox)) sweep_events(folder, wall_clock().seconds);
  return AuditLog(envelope, std::move(fd), std::move(path), sink.kind);
}

// Who comes from outside may fill half of a default file, so that the sandbox's own flows go on.
bool AuditLog::has_room_for(const audit::Event& event) const {
  const bool from_outside = event.type == audit::EventType::flow_open && event.via == audit::kViaPublish;
  return !from_outside || kind_ != EventsSink::Kind::default_file || written_ + lines_.size() <= kMaxDefaultFile / 2;
}

bool AuditLog::record(audit::Event event) {
  if (!has_room_for(event)) return false;
  const bool rolls_up = audit::is_refusal(event.type) || event.type == audit::EventType::dns_answer ||
                        event.type == audit::EventType::limit;
  if (rolls_up && !full_ && absorb(event)) return true;
  const bool taken = (!full_ || is_always_taken(event.type)) && take(event);
  if (!taken && rolls_up) repeats_.erase(audit::roll_up_key(event));  // nothing stands there to be repeated
  // What could not be recorded does not happen; but a refusal has happened.
  if (taken || audit::is_refusal(event.type)) count(event);
  return taken;
}

// True if the event is a repeat that will be written with the others of its second.
bool AuditLog::absorb(const audit::Event& event) {
  if (reactor_ == nullptr) return false;
  const std::string key = audit::roll_up_key(event);
  const auto found = repeats_.find(key);
  if (found != repeats_.end()) {
    ++found->second.count;
    found->second.event.flow.reset();  // they were others
    return true;
  }
  if (repeats_.size() >= kMaxRollUps) return false;
  repeats_.emplace(key, Repeats{.event = event, .count = 0, .sequence = sequence_ + 1});
  reactor_->at(reactor_->now_ms() + kRollUpMs, [this, key] {
    auto node = repeats_.extract(key);
    if (!node.empty()) write_repeats(node.mapped());
  });
  return false;
}

// As one event.
void AuditLog::write_repeats(Repeats& repeats) {
  if (repeats.count == 0) return;
  if (repeats.count > 1) repeats.event.count = repeats.count;
  count(repeats.event);
  take(repeats.event);
}

void AuditLog::flush_roll_ups() {
  for (auto& [key, repeats] : repeats_) write_repeats(repeats);
  repeats_.clear();
  commit();
}

void AuditLog::begin_generation(const std::string& policy, std::uint64_t generation) {
  flush_roll_ups();
  envelope_.policy = policy;
  envelope_.generation = generation;
  writer_ = audit::LineWriter(envelope_);
}

// Numbers the event and keeps its line for commit().
bool AuditLog::take(const audit::Event& event) {
  if (!fd_.valid()) return true;  // --events none
  const std::size_t before = lines_.size();
  writer_.append(lines_, event, sequence_ + 1, wall_clock());
  const bool bounded = kind_ == EventsSink::Kind::default_file && !is_always_taken(event.type);
  if (bounded && written_ + lines_.size() > kMaxDefaultFile) {
    lines_.resize(before);
    full_ = true;
    note_failure(EFBIG);
    return last_written_ = false;
  }
  ++sequence_;
  return true;
}

bool AuditLog::commit() {
  if (lines_.empty()) return true;
  const std::size_t written = write_lines();
  last_written_ = written == lines_.size();
  if (!last_written_) note_failure(errno);
  if (!last_written_) ++failed_commits_;
  written_ += written;
  // A number is used up only by a line that was written, so the sequence has no gap.
  if (!last_written_) {
    const std::string_view done = std::string_view(lines_).substr(0, written);
    sequence_ = committed_sequence_ + static_cast<std::uint64_t>(std::ranges::count(done, '\n'));
  }
  committed_sequence_ = sequence_;
  lines_.clear();
  if (!last_written_) forget_repeats_of_nothing();
  return last_written_;
}

// Of lines that were not written. They were refused all the same.
void AuditLog::forget_repeats_of_nothing() {
  std::erase_if(repeats_, [this](const auto& entry) {
    const Repeats& repeats = entry.second;
    if (repeats.sequence <= sequence_) return false;
    if (repeats.count > 0) {
      audit::Event event = repeats.event;
      event.count = repeats.count;
      count(event);
    }
    return true;
  });
}

// Bytes of whole lines that stand in the sink; if not all, errno says why.
std::size_t AuditLog::write_lines() {
  if (!regular_) return write_whole_lines();
  const ssize_t count = ::write(fd_.get(), lines_.data(), lines_.size());
  if (count == static_cast<ssize_t>(lines_.size())) return lines_.size();
  const int cause = count < 0 ? errno : ENOSPC;
  if (count > 0) cut_off(static_cast<std::size_t>(count));
  errno = cause;
  return 0;
}

// Never waits: a reader that stops must stop new flows, not this process. A pipe or terminal that is ready takes
// PIPE_BUF bytes whole, and no line is longer.
std::size_t AuditLog::write_whole_lines() {
  std::size_t done = 0;
  while (done < lines_.size()) {
    const std::string_view rest = std::string_view(lines_).substr(done);
    const std::size_t last = rest.size() <= PIPE_BUF ? rest.size() - 1 : rest.rfind('\n', PIPE_BUF - 1);
    const std::string_view chunk = rest.substr(0, last == std::string_view::npos ? rest.find('\n') + 1 : last + 1);
    const ssize_t count = write_now(fd_.get(), chunk);
    if (count == static_cast<ssize_t>(chunk.size())) {
      done += chunk.size();
      continue;
    }
    if (count > 0) failure_ = "the last line of the events is incomplete";
    if (count >= 0) errno = ENOSPC;
    return done;
  }
  return done;
}

// Half a batch would record what did not happen. Another sandbox that writes to the same file may have appended to it:
// then it stays.
void AuditLog::cut_off(std::size_t written) {
  struct stat now{};
  const auto size = static_cast<off_t>(written);
  const bool cut =
      hold_alone(fd_.get()) && ::fstat(fd_.get(), &now) == 0 && ::ftruncate(fd_.get(), now.st_size - size) == 0;
  mark_as_written(fd_.get());
  if (!cut) failure_ = "the last line of the events is incomplete";
}

void AuditLog::note_failure(int cause) {
  if (failure_.empty()) {
    failure_ = "cannot write events" + (path_.empty() ? "" : " to " + path_) + ": " + sys::errno_text(cause);
  }
}

// What a run with a network of its own asked for is counted by who records it.
void AuditLog::count(const audit::Event& event) {
  if (event.run) return;
  if (counts_everything_ || audit::is_refusal(event.type)) tally_.add(event);
}

}  // namespace weir::supervisor
