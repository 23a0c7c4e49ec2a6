#include "living_runner.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <optional>

namespace weir::sandbox::testing {
namespace {

constexpr std::uint64_t kPatienceMs = 50'000;

std::pair<sys::OwnedFd, sys::OwnedFd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  return {sys::OwnedFd(ends[0]), sys::OwnedFd(ends[1])};
}

// What is there, until its end or for as long as nobody writes; false at the end.
bool read_some(const sys::OwnedFd& fd, std::string& into) {
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    into.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

sys::OwnedFd null_device() {
  return sys::OwnedFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

}  // namespace

void Live::until(const std::function<bool()>& done) {
  const auto timer = reactor_.at(sys::monotonic_ms() + kPatienceMs, [] { ::_exit(97); });
  while (!done() && !broken_) {
    // One round.
    const auto tick = reactor_.at(sys::monotonic_ms() + 2, [this] { reactor_.stop(); });
    if (!reactor_.run()) ::_exit(96);
    reactor_.cancel(tick);
  }
  reactor_.cancel(timer);
}

void Live::on_control() {
  const auto event = sandbox_.on_control_readable();
  if (event && !event->has_value()) return;
  broken_ = true;
  reason_ = event ? "ended" : event.error().what();
  reactor_.forget(sandbox_.control_fd());
}

std::string Live::Ran::text() const {
  if (!failure.empty()) return failure;
  if (ended.not_executed) return ended.not_executed->what() + "|" + std::to_string(WEXITSTATUS(ended.status));
  return out + "|" +
         std::to_string(WIFSIGNALED(ended.status) ? 128 + WTERMSIG(ended.status) : WEXITSTATUS(ended.status));
}

Live::Ran Live::run(const std::vector<std::string>& argv, const std::string& workdir) {
  auto [reader, writer] = make_pipe();
  ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  Inside::Stdio stdio{.in = null_device(), .out = sys::OwnedFd(::dup(writer.get())), .err = std::move(writer)};
  Ran ran;
  bool over = false;
  const Inside::Program program{
      .argv = argv, .env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/home/sandbox"}}, .workdir = workdir};
  inside_.start(
      program, std::move(stdio),
      [&](Result<Inside::Begun> begun) {
        if (begun) return;
        ran.failure = begun.error().what();
        over = true;
      },
      [&](Inside::Ended ended) {
        ran.ended = std::move(ended);
        over = true;
      });
  until([&] {
    read_some(reader, ran.out);
    return over;
  });
  if (broken_) ran.failure = reason_;
  read_some(reader, ran.out);
  return ran;
}

Inside::Id Live::begin(const std::string& script) {
  bool begun = false;
  const Inside::Program program{.argv = {"sh", "-c", script}, .env = {{"PATH", "/usr/bin:/bin"}}, .workdir = "/tmp"};
  auto id = std::make_shared<Inside::Id>(0);
  *id = inside_.start(
      program, {.in = null_device(), .out = null_device(), .err = null_device()},
      [&](Result<Inside::Begun> result) { begun = result.has_value(); },
      [this, id](Inside::Ended ended) { ended_[*id] = ended.status; });
  until([&] { return begun; });
  return *id;
}

int Live::wait(Inside::Id process) {
  until([&] { return ended_.contains(process); });
  return broken_ ? -1 : ended_[process];
}

Live::Done Live::file(Inside::FileTask task, const std::string& content) {
  Done done;
  bool over = false;
  const auto fail_with = [&](const Error& error) {
    done.failure = error.what();
    done.code = error.code();
    over = true;
  };
  inside_.files(
      task,
      [&](Result<Inside::FileAnswer> answer) {
        if (!answer) return fail_with(answer.error());
        done.answer = std::move(*answer);
        if (task.what == Do::list || task.what == Do::tar) ::fcntl(done.answer.fd.get(), F_SETFL, O_NONBLOCK);
        if (task.what != Do::untar) return;
        // Small enough for the pipe.
        if (::write(done.answer.fd.get(), content.data(), content.size()) < 0) std::abort();
        done.answer.fd.reset();
      },
      [&](Result<> how) {
        if (!how) return fail_with(how.error());
        over = true;
      });
  until([&] {
    if ((task.what == Do::list || task.what == Do::tar) && done.answer.fd.valid())
      read_some(done.answer.fd, done.content);
    return over;
  });
  if (done.answer.fd.valid()) read_some(done.answer.fd, done.content);
  if (broken_) done.failure = reason_;
  return done;
}

std::string Live::get(const std::string& path) {
  const Done done = file({.what = Do::get, .path = path});
  return done.failure.empty() ? done.content : done.failure;
}

std::string Live::put(const std::string& path, const std::string& content, std::uint32_t mode) {
  std::optional<std::string> how;
  Inside::Id id = 0;
  id = inside_.files(
      {.what = Do::put, .path = path, .mode = mode},
      [&](Result<Inside::FileAnswer> answer) {
        if (!answer) {
          how = answer.error().what();
          return;
        }
        if (::write(answer->fd.get(), content.data(), content.size()) < 0) std::abort();
        inside_.commit(id);
      },
      [&](Result<> result) { how = result ? "" : result.error().what(); });
  until([&] { return how.has_value(); });
  return how.value_or(reason_);
}

std::string Live::freeze() {
  std::optional<std::string> how;
  inside_.freeze([&](Result<> result) { how = result ? "" : result.error().what(); });
  until([&] { return how.has_value(); });
  return how.value_or(reason_);
}

Spec living() {
  Spec spec = testing::shell("");
  spec.argv.clear();
  spec.env.clear();
  spec.lives_on = true;
  return spec;
}

std::string live(const Spec& spec, As as, const std::function<std::string(Live&)>& work) {
  auto [reader, writer] = make_pipe();
  const pid_t child = fork_as(as, [&] {
    reader.reset();
    std::string said;
    {
      auto reactor = sys::Reactor::create();
      auto sandbox = Sandbox::start(spec);
      if (!reactor || !sandbox) {
        said = sandbox.error().what();
      } else {
        auto inside = sandbox->serve_inside(*reactor);
        Live live(*reactor, *sandbox, **inside);
        sys::CallbackHandler handler([&](std::uint32_t) { live.on_control(); });
        if (!reactor->watch(sandbox->control_fd(), EPOLLIN, handler)) return 95;
        said = work(live);
      }
    }
    return ::write(writer.get(), said.data(), said.size()) < 0 ? 94 : 0;
  });
  writer.reset();
  std::string said;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(reader.get(), buffer.data(), buffer.size())) > 0;)
    said.append(buffer.data(), static_cast<std::size_t>(got));
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) said += " (supervisor: status " + std::to_string(status) + ")";
  return said;
}

}  // namespace weir::sandbox::testing
