#include "daemon/serve.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include "base/failure_line.h"
#include "daemon/command.h"
#include "daemon/server.h"
#include "daemon/tls.h"
#include "session/state_folder.h"
#include "sys/errno.h"
#include "sys/files.h"
#include "sys/folder.h"

namespace weir::daemon {

namespace {

// What a command of weir's needs of the caller's environment; the rest of it is nobody's business inside a daemon.
constexpr std::string_view kKept[] = {
    "PATH", "HOME", "USER", "LANG", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "TMPDIR"};

std::vector<std::string> kept_environment() {
  std::vector<std::string> kept;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    for (const std::string_view each : kKept) {
      if (name == each) kept.emplace_back(text);
    }
  }
  return kept;
}

// `weir` beside this program, or where this one was put into libexec/weir.
Result<std::string> find_weir() {
  const auto self = sys::link_target(AT_FDCWD, "/proc/self/exe");
  if (!self) return sys::errno_error("cannot find this program");
  const std::string folder = self->substr(0, self->rfind('/'));
  for (const std::string& path : {folder + "/weir", folder + "/../../bin/weir"}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return std::unexpected(Error("there is no weir beside " + *self).with_remedy("install the two together"));
}

// One daemon for each state: two would forget each other's unfinished requests.
Result<sys::OwnedFd> lock_state(const std::string& folder) {
  const std::string path = folder + "/daemon.lock";
  WEIR_TRY(sys::OwnedFd lock, sys::checked_fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600),
                                              "cannot make " + path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return sys::errno_error("cannot lock " + path);
  return std::unexpected(Error("another weir serve is running").with_remedy("speak to that one, or end it first"));
}

Result<> check_private(const std::string& folder) {
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0) return sys::errno_error("cannot look at " + folder);
  if (info.st_uid == ::geteuid() && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
  return std::unexpected(Error("others may write " + folder).with_remedy("make it your own, mode 0700"));
}

// Archives that a daemon before this one was importing.
void sweep_spool(const std::string& path) {
  const sys::Folder folder(::opendir(path.c_str()));
  if (folder == nullptr) return;
  while (const dirent* entry = sys::next_entry(folder)) ::unlinkat(::dirfd(folder.get()), entry->d_name, 0);
}

struct Parts {
  Config config;
  std::string state;
  sys::OwnedFd lock;
  std::optional<Tokens> tokens;
  std::unique_ptr<Tls> tls;
  std::vector<Door> doors;
};

Result<Parts> prepare(std::span<const std::string> words) {
  Parts parts;
  WEIR_TRY(parts.config, parse_config(words));
  WEIR_TRY(parts.state, session::state_folder());
  // Commands start in a folder that is empty, so that no name of an image is a file's.
  WEIR_CHECK_OK(sys::make_folders(parts.state + "/daemon/empty"));
  WEIR_CHECK_OK(sys::make_folders(parts.state + "/daemon/spool"));
  WEIR_CHECK_OK(check_private(parts.state));
  WEIR_CHECK_OK(check_private(parts.state + "/daemon"));
  WEIR_TRY(parts.lock, lock_state(parts.state + "/daemon"));
  sweep_spool(parts.state + "/daemon/spool");
  if (!parts.config.token_file.empty()) {
    WEIR_TRY(parts.tokens, read_token_file(parts.config.token_file));
  }
  if (!parts.config.tls_cert.empty()) {
    WEIR_TRY(parts.tls, Tls::load(parts.config.tls_cert, parts.config.tls_key));
  }
  WEIR_TRY(parts.doors, open_doors(parts.config));
  return parts;
}

// SIGHUP is among them where there is something to read again; elsewhere it ends the daemon, as a terminal that goes
// means it.
Result<sys::OwnedFd> take_signals(const Config& config) {
  sigset_t signals;
  ::sigemptyset(&signals);
  if (!config.token_file.empty()) ::sigaddset(&signals, SIGHUP);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return sys::errno_error("cannot block signals");
  return sys::checked_fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK), "cannot wait for signals");
}

void say(const std::string& text) {
  const std::string line = "weir-serve: " + printable(text) + "\n";
  static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
}

void reload(Server& server, const std::string& token_file) {
  if (const auto read = reload_tokens(server, token_file); !read) {
    say("the tokens stay as they were: " + read.error().what() +
        (read.error().remedy().empty() ? "" : "; " + read.error().remedy()));
    return;
  }
  say("read the tokens again");
}

// Until the first signal that ends it.
Task<> await_end(Server& server, Waiter& waiter, int signals, const std::string& token_file) {
  while (true) {
    const Waited asked = co_await waiter.readable(kNever);
    if (asked != Waited::ready) co_return;
    signalfd_siginfo first{};
    if (::read(signals, &first, sizeof first) != sizeof first) continue;
    if (first.ssi_signo != SIGHUP) co_return;
    reload(server, token_file);
  }
}

// Nothing new from the first signal on; what is being answered has its time, and a second signal ends that.
Task<> end_in_order(Server& server, int signals, const Config& config, asio::io_context& loop) {
  Waiter waiter(server.daemon.executor, signals);
  co_await await_end(server, waiter, signals, config.token_file);
  server.daemon.ending = true;
  // The names go now: whoever comes finds nobody, instead of somebody who does not answer.
  for (Door& door : server.doors) {
    door.named.reset();
    ::shutdown(door.socket.get(), SHUT_RDWR);
  }
  const Deadline deadline = in_seconds(config.grace_seconds);
  while (server.daemon.metrics.requests_running > 0 && Clock::now() < deadline) {
    const Waited again = co_await waiter.readable(std::min(deadline, Clock::now() + std::chrono::milliseconds(50)));
    signalfd_siginfo second{};
    if (again != Waited::ready || ::read(signals, &second, sizeof second) != sizeof second) continue;
    if (second.ssi_signo != SIGHUP) break;
    // Also now a token that is removed loses what is being answered.
    reload(server, config.token_file);
  }
  loop.stop();
}

// Sessions that sleep have nobody who ends them when their time is over; their files are for another command to sweep.
Task<> end_sleepers(Daemon& daemon) {
  constexpr auto kEvery = std::chrono::minutes(1);
  while (!daemon.ending) {
    co_await sleep_until(Clock::now() + kEvery);
    bool expired = false;
    const auto all = daemon.registry.list(&expired);
    if (!all || !expired) continue;
    auto swept = co_await run_command(daemon, machine_owner(), {.words = {"snapshot", "ls", "--output=json"}}, 60);
    static_cast<void>(swept);
  }
}

}  // namespace

Result<> serve(std::span<const std::string> words) {
  WEIR_TRY(Parts parts, prepare(words));
  WEIR_TRY(std::string weir, find_weir());
  WEIR_TRY(session::Registry registry, session::Registry::open());
  WEIR_TRY(Store store, Store::open(parts.state + "/daemon/daemon.db"));
  WEIR_TRY(const sys::OwnedFd signals, take_signals(parts.config));
  auto loop = std::make_unique<asio::io_context>(1);
  Daemon daemon{.limits = parts.config.limits,
                .weir = std::move(weir),
                .folder = parts.state + "/daemon/empty",
                .spool = parts.state + "/daemon/spool",
                .environment = kept_environment(),
                .registry = std::move(registry),
                .store = std::move(store),
                .metrics = {},
                .memory = Budget(parts.config.limits.memory_bytes),
                .children = Turnstile(parts.config.limits.children),
                .transfers = Turnstile(parts.config.limits.transfers),
                .executor = loop->get_executor()};
  RequestLog log(parts.config.log);
  Server server{.daemon = daemon,
                .log = log,
                .tokens = parts.tokens ? &*parts.tokens : nullptr,
                .tls = parts.tls.get(),
                .doors = std::move(parts.doors)};
  for (std::size_t i = 0; i < server.doors.size(); ++i) {
    asio::co_spawn(daemon.executor, accept_all(server, i), asio::detached);
    say("listening on " + server.doors[i].where);
  }
  asio::co_spawn(daemon.executor, end_sleepers(daemon), asio::detached);
  asio::co_spawn(daemon.executor, end_in_order(server, signals.get(), parts.config, *loop), asio::detached);
  loop->run();
  // What is still being answered goes with the loop, and holds references to everything else here.
  loop.reset();
  return {};
}

}  // namespace weir::daemon
