#include "supervisor/audit_log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "supervisor/events_sweep.h"
#include "sys/errno.h"

namespace weir::supervisor {

namespace {

constexpr std::uint64_t kRollUpMs = 1000;

audit::Timestamp wall_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {.seconds = now.tv_sec, .microseconds = static_cast<std::uint32_t>(now.tv_nsec / 1000)};
}

bool is_refusal(audit::EventType type) {
  return type == audit::EventType::flow_refuse || type == audit::EventType::dns_refuse;
}

std::string destination_text(const audit::Event& event) {
  std::string host = event.name.empty() && event.dst ? event.dst->text() : event.name;
  if (host.empty()) host = event.proto.empty() ? "a malformed name" : event.proto;
  if (!event.port) return host;
  const bool bare_v6 = event.name.empty() && event.dst && !event.dst->is_v4();
  return (bare_v6 ? "[" + host + "]" : host) + ":" + std::to_string(*event.port);
}

Result<> make_folders(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return sys::errno_error("cannot make the folder " + part);
    if (slash == std::string::npos) return {};
  }
}

// `more`: O_EXCL, or nothing.
Result<sys::OwnedFd> open_file(const std::string& path, int more) {
  auto fd = sys::checked_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | more, 0600),
                            "cannot write events to " + path);
  if (fd) return fd;
  return std::unexpected(std::move(fd).error().with_remedy("name another file with --events FILE, or --events none"));
}

// Never waits: a reader that stops must stop new flows, not this process. A pipe or terminal that is ready takes a line
// whole, because no line is longer than PIPE_BUF; a regular file always is.
ssize_t write_now(int fd, const std::string& line) {
  pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&writable, 1, 0) == 1) return ::write(fd, line.data(), line.size());
  errno = EAGAIN;
  return -1;
}

}  // namespace

Result<std::string> default_events_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/weir/events";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.local/state/weir/events";
  return std::unexpected(Error("there is no folder for events: neither XDG_STATE_HOME nor HOME is set")
                             .with_remedy("name a file with --events FILE, or --events none"));
}

Result<AuditLog> AuditLog::open(const EventsSink& sink, audit::Envelope envelope) {
  switch (sink.kind) {
    case EventsSink::Kind::none:
      return AuditLog(std::move(envelope), {}, {}, sink.kind);
    case EventsSink::Kind::standard_output: {
      WEIR_TRY(sys::OwnedFd fd,
               sys::checked_fd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "cannot write events to standard output"));
      return AuditLog(std::move(envelope), std::move(fd), {}, sink.kind);
    }
    case EventsSink::Kind::file: {
      WEIR_TRY(sys::OwnedFd fd, open_file(sink.path, 0));
      return AuditLog(std::move(envelope), std::move(fd), sink.path, sink.kind);
    }
    case EventsSink::Kind::default_file:
      break;
  }
  WEIR_TRY(const std::string folder, default_events_folder());
  if (auto made = make_folders(folder); !made) {
    return std::unexpected(std::move(made).error().with_remedy("name a file with --events FILE, or --events none"));
  }
  std::string path = folder + "/" + envelope.sandbox + ".jsonl";
  WEIR_TRY(sys::OwnedFd fd, open_file(path, O_EXCL));
  mark_as_written(fd.get());
  if (sweeps(envelope.sandbox)) sweep_events(folder, wall_clock().seconds);
  return AuditLog(std::move(envelope), std::move(fd), std::move(path), sink.kind);
}

bool AuditLog::record(audit::Event event) {
  if (is_refusal(event.type)) count_refusal(event);
  const bool rolls_up = is_refusal(event.type) || event.type == audit::EventType::dns_answer;
  if (rolls_up && absorb(event)) return true;
  if (write(event)) return true;
  // Its repeats are no repeats of anything that was written.
  if (rolls_up) repeats_.erase(audit::roll_up_key(event));
  return false;
}

// True if the event is a repeat that will be written with the others of its second.
bool AuditLog::absorb(const audit::Event& event) {
  if (reactor_ == nullptr) return false;
  const std::string key = audit::roll_up_key(event);
  const auto found = repeats_.find(key);
  if (found != repeats_.end()) {
    ++found->second.count;
    return true;
  }
  if (repeats_.size() >= kMaxRollUps) return false;
  repeats_.emplace(key, Repeats{.event = event, .count = 0});
  reactor_->at(reactor_->now_ms() + kRollUpMs, [this, key] {
    auto node = repeats_.extract(key);
    if (node.empty() || node.mapped().count == 0) return;
    if (node.mapped().count > 1) node.mapped().event.count = node.mapped().count;
    write(node.mapped().event);
  });
  return false;
}

void AuditLog::flush_roll_ups() {
  for (auto& [key, repeats] : repeats_) {
    if (repeats.count == 0) continue;
    if (repeats.count > 1) repeats.event.count = repeats.count;
    write(repeats.event);
  }
  repeats_.clear();
}

bool AuditLog::write(const audit::Event& event) {
  if (!fd_.valid()) return true;  // --events none
  // The number is used up only by a line that was written, so the sequence has no gap.
  if (!append(audit::line_of(event, envelope_, sequence_ + 1, wall_clock()))) return false;
  ++sequence_;
  return true;
}

bool AuditLog::append(const std::string& line) {
  const bool full = kind_ == EventsSink::Kind::default_file && written_ + line.size() > kMaxDefaultFile;
  if (full) errno = EFBIG;
  const ssize_t count = full ? -1 : write_now(fd_.get(), line);
  last_written_ = count == static_cast<ssize_t>(line.size());
  if (last_written_) {
    written_ += line.size();
  } else {
    note_failure(count);
  }
  return last_written_;
}

void AuditLog::note_failure(ssize_t written) {
  const int cause = written < 0 ? errno : ENOSPC;
  if (failure_.empty()) {
    failure_ = "cannot write events" + (path_.empty() ? "" : " to " + path_) + ": " + sys::errno_text(cause);
  }
  if (written <= 0) return;
  // Half a line would make the file unreadable; a pipe cannot take it back.
  struct stat now{};
  const bool cut =
      ::fstat(fd_.get(), &now) == 0 && S_ISREG(now.st_mode) && ::ftruncate(fd_.get(), now.st_size - written) == 0;
  if (!cut) failure_ += " (its last line is incomplete)";
}

void AuditLog::count_refusal(const audit::Event& event) {
  const std::string what = destination_text(event);
  const std::string key = what + '\0' + event.reason;
  if (refused_.size() >= kMaxSummary && !refused_.contains(key)) return;
  RefusedDestination& entry = refused_[key];
  entry.what = what;
  entry.reason = event.reason;
  ++entry.times;
}

std::vector<RefusedDestination> AuditLog::refused() const {
  std::vector<RefusedDestination> all;
  for (const auto& [key, entry] : refused_) all.push_back(entry);
  std::ranges::sort(all, [](const auto& left, const auto& right) {
    return left.times != right.times ? left.times > right.times : left.what < right.what;
  });
  return all;
}

}  // namespace weir::supervisor
