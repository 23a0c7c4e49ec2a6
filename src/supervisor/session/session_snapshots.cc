#include "supervisor/session/session_snapshots.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>

#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::supervisor {
namespace {

using wire::ErrorCode;

// Of the child's answer: a description, or an error.
constexpr std::size_t kMaxAnswer = 2 * image::kMaxSnapshotText;
constexpr char kMade = 'v';
constexpr char kFailed = 'e';

struct Order {
  const std::string& store;
  const image::WrittenTree& tree;
  const image::Ids& ids;
  const image::Snapshot& about;
  image::Limits limits;
};

Result<std::string> copy(const Order& order) {
  WEIR_TRY(image::Snapshots store, image::Snapshots::open(order.store));
  WEIR_TRY(const image::Snapshots::Created made, store.create(order.tree, order.ids, order.about, order.limits));
  return image::snapshot_summary(made.snapshot, image::remarks(made.left_out));
}

[[noreturn]] void become_copier(const Order& order, const sys::OwnedFd& answer) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "weir-snapshot", 0, 0, 0);
  if (!sys::close_all_but({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, order.tree.folder, answer.get()})) ::_exit(1);
  const auto made = copy(order);
  std::string text =
      made ? kMade + *made
           : kFailed + std::to_string(made.error().code()) + '\0' + made.error().what() + '\0' + made.error().remedy();
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t done = ::write(answer.get(), rest.data(), rest.size());
    if (done <= 0) ::_exit(1);
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
  ::_exit(0);
}

wire::SessionReply reply_of(const std::string& text) {
  if (text.starts_with(kMade)) return wire::SnapshotInfo{.json = text.substr(1)};
  if (!text.starts_with(kFailed))
    return wire::Refusal{.code = ErrorCode::internal, .message = "the process that keeps the files ended early"};
  const std::size_t what = std::min(text.find('\0'), text.size() - 1) + 1;
  const std::size_t remedy = std::min(text.find('\0', what), text.size());
  const int code = std::atoi(text.c_str() + 1);
  return wire::Refusal{.code = code == EEXIST ? ErrorCode::name_taken : ErrorCode::internal,
                       .message = text.substr(what, remedy - what),
                       .remedy = remedy < text.size() ? text.substr(remedy + 1) : ""};
}

}  // namespace

Result<std::unique_ptr<SessionSnapshots>> SessionSnapshots::prepare(Ground ground, sandbox::Sandbox& sandbox) {
  WEIR_TRY(WrittenFiles written, WrittenFiles::of(sandbox, ground.run.spec));
  return std::unique_ptr<SessionSnapshots>(new SessionSnapshots(std::move(ground), std::move(written)));
}

std::uint64_t SessionSnapshots::disk_bytes() const {
  struct statfs info{};
  if (::fstatfs(written_.folder.get(), &info) != 0 || info.f_bfree > info.f_blocks) return 0;
  return (info.f_blocks - info.f_bfree) * static_cast<std::uint64_t>(info.f_bsize);
}

SessionSnapshots::~SessionSnapshots() {
  if (answer_.valid()) ground_.reactor.forget(answer_.get());
}

void SessionSnapshots::make(const wire::MakeSnapshot& request, const Policy& policy, OnDone on_done) {
  const RunOptions& run = ground_.run;
  if (on_done_) {
    return on_done(wire::Refusal{.code = ErrorCode::conflict,
                                 .message = "a snapshot of this session is being made",
                                 .remedy = "ask again when it is done"});
  }
  if (!run.no_snapshots.empty())
    return on_done(wire::Refusal{.code = ErrorCode::unavailable, .message = run.no_snapshots, .remedy = ""});
  if (!request.name.empty() && !image::is_snapshot_name(request.name)) {
    return on_done(wire::Refusal{.code = ErrorCode::bad_request,
                                 .message = "'" + request.name + "' is no name of a snapshot",
                                 .remedy = "1 to 63 letters, digits, '_', '.', ':' or '-'"});
  }
  if (!request.id.empty() && !image::is_snapshot_id(request.id)) {
    return on_done(wire::Refusal{.code = ErrorCode::bad_request,
                                 .message = "'" + request.id + "' is no id of a snapshot",
                                 .remedy = "s- and 8 hexadecimal digits"});
  }
  image::Snapshot snapshot = about(policy);
  snapshot.id = request.id;
  snapshot.name = request.name;
  snapshot.labels.assign(request.labels.begin(), request.labels.end());
  for_sleep_ = false;
  begin(std::move(snapshot), std::move(on_done));
}

void SessionSnapshots::make_for_sleep(std::string kept_by, const Policy& policy, OnDone on_done) {
  if (on_done_) return on_done(wire::Refusal{.code = ErrorCode::conflict, .message = "a snapshot is being made"});
  image::Snapshot snapshot = about(policy);
  snapshot.kept_by = std::move(kept_by);
  for_sleep_ = true;
  begin(std::move(snapshot), std::move(on_done));
}

image::Snapshot SessionSnapshots::about(const Policy& policy) const {
  image::Snapshot about = ground_.run.begun_from;
  about.id.clear();
  about.mode = policy.mode;
  about.policy = policy.hash;
  about.taint = image::taint_of(policy.mode, about.taint);
  if (!policy.kept_mode.empty()) about.taint = image::taint_of(policy.kept_mode, about.taint);
  about.session = ground_.run.spec.id;
  about.session_name = ground_.name;
  return about;
}

// What it falls asleep with leaves room to wake in: a hole counts as what it could become.
image::Limits SessionSnapshots::limits() const {
  image::Limits limits = image::kLayerLimits;
  const auto disk = ground_.run.spec.limits.disk_bytes;
  if (for_sleep_ && disk) limits.bytes = std::min(limits.bytes, *disk - std::min(*disk, kLeastDisk));
  return limits;
}

void SessionSnapshots::begin(image::Snapshot about, OnDone on_done) {
  on_done_ = std::move(on_done);
  freezing_ = true;
  ground_.inside.freeze([this, about = std::move(about)](Result<> still) {
    freezing_ = false;
    if (!on_done_) {
      if (auto on_moving = std::exchange(on_moving_, nullptr)) on_moving();
      return;
    }
    if (still) return begin_copy(about);
    finish(
        wire::Refusal{.code = ErrorCode::conflict, .message = still.error().what(), .remedy = still.error().remedy()});
  });
}

void SessionSnapshots::cancel(std::function<void()> on_moving) {
  on_done_ = nullptr;
  if (answer_.valid()) forget_copy();
  ground_.inside.thaw();
  if (!freezing_) return on_moving();
  on_moving_ = std::move(on_moving);
}

void SessionSnapshots::begin_copy(const image::Snapshot& about) {
  const auto failed = [this](const Error& error) {
    ground_.inside.thaw();
    finish(wire::Refusal{.code = ErrorCode::internal, .message = error.what(), .remedy = error.remedy()});
  };
  auto pipe = sys::make_pipe(sys::OwnEnd::reading);
  if (!pipe) return failed(pipe.error());
  answer_ = std::move(pipe->reading);
  const sys::OwnedFd theirs = std::move(pipe->writing);
  auto copier = sys::ChildProcess::clone(0);
  if (!copier) return failed(copier.error());
  if (copier->in_child())
    become_copier({ground_.run.snapshots_folder, written_.tree, written_.ids, about, limits()}, theirs);
  copier_ = std::move(*copier);
  text_.clear();
  handler_ = std::make_unique<sys::CallbackHandler>([this](std::uint32_t) { on_readable(); });
  if (auto watched = ground_.reactor.watch(answer_.get(), EPOLLIN, *handler_); !watched) failed(watched.error());
}

void SessionSnapshots::on_readable() {
  if (!on_done_ || !answer_.valid()) return;  // cancelled in the round in which the answer came
  std::array<char, 16 * 1024> buffer;
  const ssize_t got = ::read(answer_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) text_.append(buffer.data(), static_cast<std::size_t>(got));
  if (got > 0 && text_.size() <= kMaxAnswer) return;
  forget_copy();
  const wire::SessionReply reply = reply_of(text_);
  if (!for_sleep_ || std::holds_alternative<wire::Refusal>(reply)) ground_.inside.thaw();
  finish(reply);
}

void SessionSnapshots::forget_copy() {
  ground_.reactor.forget(answer_.get());
  answer_.reset();
  copier_.kill();
  ground_.reactor.retire(std::move(handler_));
}

void SessionSnapshots::finish(const wire::SessionReply& reply) {
  if (const OnDone on_done = std::exchange(on_done_, nullptr)) on_done(reply);
}

}  // namespace weir::supervisor
