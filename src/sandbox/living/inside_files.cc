// The supervisor's side of file tasks. Each has a socket of its own; its child is as hostile as init.
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/failure_line.h"
#include "sandbox/files/file_task.h"
#include "sandbox/living/inside.h"
#include "sandbox/living/inside_parts.h"
#include "sys/errno.h"
#include "sys/pipe.h"

namespace weir::sandbox {
namespace {

using Do = control::StartFileTask::Do;

// A put that is given up tidies up after itself; somebody who stopped it does not.
constexpr std::uint64_t kTidyMs = 2000;
constexpr std::size_t kMaxUnsafe = 64;
constexpr int kPipeBytes = 256 * 1024;

Result<sys::Pipe> make_pipe() {
  WEIR_TRY(sys::Pipe pipe, sys::make_pipe());
  // As much as is written at a time (archive.cc). A user who has many pipes gets smaller ones.
  static_cast<void>(::fcntl(pipe.reading.get(), F_SETPIPE_SZ, kPipeBytes));
  return pipe;
}

bool passes_file(Do what) {
  return what == Do::get || what == Do::put;
}

// With an archive.
bool is_fed(Do what) {
  return what == Do::untar || what == Do::merge;
}

// Open for what was asked, and nothing that could lead elsewhere.
bool is_as_asked(Do what, const sys::OwnedFd& file) {
  if (!file.valid() || !is_stored_file(file.get())) return false;
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return false;
  return (flags & O_ACCMODE) == (what == Do::get ? O_RDONLY : O_RDWR);
}

}  // namespace

Inside::~Inside() {
  for (const auto& [id, process] : processes_) reactor_.cancel(process.deadline);
  for (const auto& [id, file] : files_) {
    reactor_.cancel(file->deadline);
    reactor_.forget(file->channel.fd());
  }
  for (const auto& [id, leaving] : leaving_) reactor_.forget(leaving->channel.fd());
}

Inside::Id Inside::files(const FileTask& task, OnAnswer on_answer, OnDone on_done) {
  const Id id = ++last_id_;
  auto file = std::make_unique<File>(*this, id, task.what);
  if (auto begun = begin(id, task, std::move(file)); !begun) {
    later([error = std::move(begun).error(), on_answer = std::move(on_answer)] { on_answer(std::unexpected(error)); });
    return id;
  }
  files_[id]->on_answer = std::move(on_answer);
  files_[id]->on_done = std::move(on_done);
  return id;
}

Result<> Inside::begin(Id id, const FileTask& task, std::unique_ptr<File> file) {
  WEIR_CHECK_OK(check_room(files_.size(), kMaxFileTasks, "file tasks"));
  WEIR_CHECK_OK(check_room(leaving_.size(), kMaxLeaving, "file tasks that are ending"));
  if (!task.path.starts_with('/')) return fail("a path inside begins with a slash", EINVAL);
  if (task.path.size() >= PATH_MAX) return fail("the path is longer than 4095 bytes", ENAMETOOLONG);
  std::vector<sys::OwnedFd> passed(1);
  WEIR_TRY(passed[0], passed_texts({task.path}));
  WEIR_TRY(auto channels, sys::Channel::pair());
  file->channel = std::move(channels.first);
  passed.push_back(channels.second.take());
  if (task.what == Do::list || task.what == Do::tar || is_fed(task.what)) {
    WEIR_TRY(sys::Pipe pipe, make_pipe());
    const bool reads = is_fed(task.what);
    passed.push_back(std::move(reads ? pipe.reading : pipe.writing));
    file->pipe = std::move(reads ? pipe.writing : pipe.reading);
  }
  WEIR_CHECK_OK(reactor_.watch(file->channel.fd(), EPOLLIN, *file));
  watch_deadline(*file);
  files_.emplace(id, std::move(file));
  tell(control::StartFileTask{.id = id, .what = task.what, .mode = task.mode, .recursive = task.recursive},
       std::move(passed));
  return {};
}

// After the answer. put, tar and untar: the caller's turn, as long as it stays; whoever goes abandons the task. Nobody
// is there for a list any more, and a guest that stops its children must not use up the tasks there may be.
void Inside::watch_end(File& file) {
  if (file.what == Do::put || file.what == Do::tar || is_fed(file.what)) return;
  // What is no list is said to be done right after.
  watch_deadline(file, file.what == Do::list ? kListPatienceMs : kInitPatienceMs);
}

// Until something is said next. While everything stands still, the child does as well.
void Inside::watch_deadline(File& file, std::uint64_t patience_ms) {
  reactor_.cancel(file.deadline);
  file.deadline = after(patience_ms, [this, id = file.id, patience_ms] {
    const auto found = files_.find(id);
    if (found == files_.end()) return;
    if (motion_ != Motion::moves) return watch_deadline(*found->second, patience_ms);
    tell(control::EndFileTask{.id = id});
    finish(id, fail("the task on files inside the sandbox does not answer", ETIMEDOUT));
  });
}

void Inside::on_file_message(Id id) {
  // It says three things at most.
  for (auto found = files_.find(id); found != files_.end(); found = files_.find(id)) {
    File& file = *found->second;
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    auto received = file.channel.receive(buffer);
    if (received && received->state == sys::Channel::Received::State::nothing) return;
    if (!received || received->state == sys::Channel::Received::State::closed)
      return finish(id, fail("the task on files inside the sandbox was ended before it was done", EIO));
    const auto message = control::decode<control::FromFileTask>(received->message);
    if (message && take(file, *message, received->take_passed())) continue;
    if (files_.contains(id)) {
      tell(control::EndFileTask{.id = id});
      finish(id, fail("the task on files inside the sandbox broke the protocol", EPROTO));
    }
  }
}

// False: it may not say that.
bool Inside::take(File& file, const control::FromFileTask& message, sys::OwnedFd passed) {
  const auto* answered = std::get_if<control::FileAnswered>(&message);
  if (answered != nullptr && !file.answered) {
    auto answer = checked(file, *answered, std::move(passed));
    if (!answer) return false;
    file.answered = true;
    reactor_.cancel(file.deadline);
    watch_end(file);
    const OnAnswer on_answer = std::move(file.on_answer);
    on_answer(std::move(*answer));
    return true;
  }
  if (passed.valid()) {
    unsafe_to_close_.push_back(std::move(passed));
    return false;
  }
  if (const auto* failed = std::get_if<control::FileFailed>(&message)) {
    Error error(printable(failed->what), static_cast<int>(failed->code));
    finish(file.id, std::unexpected(std::move(error).with_remedy(printable(failed->remedy))));
    return true;
  }
  if (!std::holds_alternative<control::FileEnded>(message) || !file.answered) return false;
  finish(file.id, {});
  return true;
}

Result<Inside::FileAnswer> Inside::checked(File& file, const control::FileAnswered& answered, sys::OwnedFd passed) {
  FileAnswer answer{.bytes = answered.bytes,
                    .mode = answered.mode,
                    .modified = static_cast<std::int64_t>(answered.modified),
                    .type = answered.type,
                    .fd = {}};
  if (passes_file(file.what) ? !is_as_asked(file.what, passed) : passed.valid()) {
    if (passed.valid()) unsafe_to_close_.push_back(std::move(passed));
    if (unsafe_to_close_.size() >= kMaxUnsafe) on_broken_(Error("init of the sandbox broke the protocol"));
    return fail("not what was asked for", EPROTO);
  }
  struct stat status{};
  if (passed.valid() && ::fstat(passed.get(), &status) == 0) {
    answer.bytes = static_cast<std::uint64_t>(status.st_size);
    answer.mode = status.st_mode & 07777;
    answer.modified = status.st_mtim.tv_sec;
    answer.type = control::FileType::file;
  }
  answer.fd = passes_file(file.what) ? std::move(passed) : std::move(file.pipe);
  return answer;
}

std::unique_ptr<Inside::File> Inside::remove(Id id) {
  const auto found = files_.find(id);
  if (found == files_.end()) return nullptr;
  std::unique_ptr<File> file = std::move(files_.extract(found).mapped());
  reactor_.cancel(file->deadline);
  reactor_.forget(file->channel.fd());
  see_off(id, std::move(file->channel));
  return file;
}

// The child reads an end, as if it were closed. Where its own end cannot be waited for it counts as one that lives.
void Inside::see_off(Id id, sys::Channel channel) {
  ::shutdown(channel.fd(), SHUT_WR);
  Leaving& leaving = *(leaving_[id] = std::make_unique<Leaving>(*this, id, std::move(channel)));
  // What it still says is nobody's: only EPOLLHUP, which always is told.
  static_cast<void>(reactor_.watch(leaving.channel.fd(), 0, leaving));
}

void Inside::Leaving::on_events(std::uint32_t) {
  owner.reactor_.forget(channel.fd());
  owner.reactor_.retire(std::move(owner.leaving_.extract(id).mapped()));
}

void Inside::finish(Id id, Result<> how) {
  std::unique_ptr<File> file = remove(id);
  if (!file) return;
  File& ended = *file;
  reactor_.retire(std::move(file));
  if (ended.answered) return ended.on_done(std::move(how));
  ended.on_answer(std::unexpected(how ? Error("the task on files inside the sandbox said nothing", EPROTO)
                                      : std::move(how).error()));
}

void Inside::commit(Id put) {
  const auto found = files_.find(put);
  if (found == files_.end() || found->second->what != Do::put || !found->second->answered) return;
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  // A child that is gone has its end told by its socket.
  static_cast<void>(found->second->channel.send(control::encode(control::ToFileTask(control::Commit{}), buffer)));
  watch_deadline(*found->second);
}

// What stands still tidies up when it goes on.
void Inside::end_when_tidied(Id put) {
  after(kTidyMs, [this, put] {
    if (motion_ != Motion::moves) return end_when_tidied(put);
    tell(control::EndFileTask{.id = put});
  });
}

void Inside::abandon(Id task) {
  std::unique_ptr<File> file = remove(task);
  if (!file) return;
  if (file->what == Do::put) {
    end_when_tidied(task);
  } else {
    tell(control::EndFileTask{.id = task});
  }
  File& given_up = *file;
  auto stopped = fail("the task on files was given up", ECANCELED);
  if (given_up.answered) {
    later([done = std::move(given_up.on_done), stopped] { done(stopped); });
  } else {
    later([answer = std::move(given_up.on_answer), stopped] { answer(stopped); });
  }
  reactor_.retire(std::move(file));
}

}  // namespace weir::sandbox
