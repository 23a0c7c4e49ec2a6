#include "daemon/command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/json_document.h"
#include "daemon/pipes.h"
#include "sys/errno.h"
#include "sys/memory_file.h"

namespace weir::daemon {

namespace {

constexpr std::size_t kMaxPrinted = 16u << 20;
constexpr int kKilled = 128;  // an exit code from here on: by a signal
constexpr int kOut = 0;
constexpr int kErr = 1;
constexpr int kEnd = 2;

struct Printed {
  sys::OwnedFd fd;
  std::string text = {};
  bool is_whole = true;
};

// Everything that is there; what there is no memory for is dropped, and said so. False: there will be nothing more.
bool take(Printed& printed, Budget::Share& memory) {
  std::array<std::uint8_t, 65536> buffer;
  while (true) {
    const Moved moved = read_some(printed.fd.get(), buffer);
    if (moved.state == Moved::State::ended) return false;
    if (moved.bytes == 0) return true;
    if (printed.text.size() + moved.bytes > kMaxPrinted || !memory.grow(moved.bytes)) printed.is_whole = false;
    if (!printed.is_whole) continue;
    printed.text.append(as_text(Bytes(buffer).first(moved.bytes)));
  }
}

Task<> reap(Executor executor, sys::Spawned process) {
  Waiter waiter(executor, process.pidfd.get());
  const Waited ended = co_await waiter.readable(kNever);
  static_cast<void>(ended);
  ::waitpid(process.pid, nullptr, WNOHANG);
}

}  // namespace

Result<sys::OwnedFd> file_in_memory(std::string_view content) {
  WEIR_TRY(sys::OwnedFd file, sys::make_memory_file("weir-serve"));
  WEIR_CHECK_OK(sys::append(file, as_bytes(content)));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return sys::errno_error("cannot rewind a file in memory");
  return file;
}

Result<RunningCommand> RunningCommand::start(const Daemon& daemon, Command command, int in, int out, int err) {
  sys::Spawn what{.program = daemon.weir,
                  .argv = {daemon.weir},
                  .environment = daemon.environment,
                  .folder = daemon.folder,
                  .descriptors = {in, out, err}};
  what.argv.insert(what.argv.end(), command.words.begin(), command.words.end());
  for (const sys::OwnedFd& fd : command.inherited) what.descriptors.push_back(fd.get());
  WEIR_TRY(sys::Spawned process, sys::spawn(what));
  return RunningCommand(daemon.executor, std::move(process));
}

RunningCommand::~RunningCommand() {
  if (!process_.pidfd.valid() || process_.pid == 0) return;
  ::kill(process_.pid, SIGKILL);
  // What is in the middle of something with a slow disk dies when that is over.
  if (::waitpid(process_.pid, nullptr, WNOHANG) == 0) {
    asio::co_spawn(executor_, reap(executor_, std::move(process_)), asio::detached);
  }
}

void RunningCommand::kill() {
  if (process_.pid != 0) ::kill(process_.pid, SIGKILL);
}

int RunningCommand::exit_code() {
  int status = 0;
  if (process_.pid == 0 || ::waitpid(process_.pid, &status, 0) < 0) return 255;
  process_.pid = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Task<wire::Answer<Ended>> run_command(Daemon& daemon, Principal who, Command command, unsigned seconds) {
  Turnstile& turnstile = command.kind == Command::Kind::transfer ? daemon.transfers : daemon.children;
  const auto place = co_await turnstile.enter(owner_key(who));
  WEIR_CO_CHECK(place);
  const sys::OwnedFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto out = sys::make_pipe(sys::OwnEnd::reading);
  auto err = sys::make_pipe(sys::OwnEnd::reading);
  auto watch = Watch::create(daemon.executor);
  if (!out) co_return internal(out.error());
  if (!err) co_return internal(err.error());
  if (!watch) co_return internal(watch.error());
  auto running =
      RunningCommand::start(daemon, std::move(command), nothing.get(), out->writing.get(), err->writing.get());
  if (!running && running.error().code() == E2BIG) {
    co_return wire::refuse(wire::ErrorCode::too_large, "more is asked for than a command line can hold");
  }
  if (!running) co_return internal(running.error());
  out->writing.reset();
  err->writing.reset();
  std::array<Printed, 2> printed = {Printed{.fd = std::move(out->reading)}, Printed{.fd = std::move(err->reading)}};
  static_cast<void>(watch->add(printed[kOut].fd.get(), EPOLLIN, kOut));
  static_cast<void>(watch->add(printed[kErr].fd.get(), EPOLLIN, kErr));
  static_cast<void>(watch->add(running->pidfd(), EPOLLIN, kEnd));
  Budget::Share memory(daemon.memory, owner_key(who));
  const Deadline deadline = in_seconds(seconds);
  while (true) {
    const Watch::Ready ready = co_await watch->wait(deadline);
    if (ready.late) co_return wire::refuse(wire::ErrorCode::unavailable, "weir took too long", "try again later");
    for (const int tag : {kOut, kErr}) {
      Printed& each = printed[static_cast<std::size_t>(tag)];
      if (ready.has(tag) && !take(each, memory)) watch->remove(each.fd.get());
    }
    if (ready.has(kEnd)) break;
  }
  // What it left running may hold the pipes; what it has printed itself is there by now.
  for (Printed& each : printed) take(each, memory);
  const int exit_code = running->exit_code();
  // How it went is not known where it was killed, or where what it said is not there.
  if (exit_code >= kKilled) co_return wire::refuse(wire::ErrorCode::unavailable, "weir was killed", "try again later");
  if (!printed[kOut].is_whole || !printed[kErr].is_whole) {
    co_return wire::refuse(wire::ErrorCode::unavailable, "there is no memory for what weir says", "try again later");
  }
  co_return Ended{.exit_code = exit_code, .out = std::move(printed[kOut].text), .err = std::move(printed[kErr].text)};
}

wire::Refusal refusal_of(const Ended& ended) {
  for (const std::string* text : {&ended.out, &ended.err}) {
    std::string_view rest = *text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (!line.starts_with("{\"error\"")) continue;
      const auto reply = wire::parse_session_reply(line);
      if (const auto* const refusal = reply ? std::get_if<wire::Refusal>(&*reply) : nullptr) return *refusal;
    }
  }
  std::string_view line = ended.err;
  while (line.ends_with('\n')) line.remove_suffix(1);
  line = line.substr(line.rfind('\n') + 1);
  if (line.starts_with("weir: ")) line.remove_prefix(6);
  std::string message = line.empty() ? "weir ended with " + std::to_string(ended.exit_code) : std::string(line);
  return {.code = wire::ErrorCode::internal, .message = std::move(message)};
}

wire::Refusal refusal_of_archive(const Ended& ended) {
  wire::Refusal refusal = refusal_of(ended);
  if (refusal.code == wire::ErrorCode::internal) refusal.code = wire::ErrorCode::bad_request;
  return refusal;
}

}  // namespace weir::daemon
