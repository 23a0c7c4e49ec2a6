#include "daemon/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "daemon/tls.h"
#include "sys/errno.h"
#include "sys/socket_address.h"

namespace weir::daemon {

namespace {

constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START
constexpr int kMaxPassed = 16;
constexpr int kBacklog = 512;
constexpr auto kExhausted = std::chrono::milliseconds(100);

std::string default_socket() {
  if (::geteuid() == 0) return "/run/weir.sock";
  const char* const folder = std::getenv("XDG_RUNTIME_DIR");
  return folder != nullptr && *folder == '/' ? std::string(folder) + "/weir.sock" : std::string();
}

// True: it is a socket's name, and nobody listens there any more.
bool is_stale(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const auto answered = sys::connect_unix(path);
  return !answered && answered.error().code() == ECONNREFUSED;
}

Result<Door> unix_door(const std::string& path) {
  // Whoever starts another one at the same time is kept out by the lock of the state folder.
  if (is_stale(path)) ::unlink(path.c_str());
  WEIR_TRY(sys::UnixListener named, sys::UnixListener::create(path));
  WEIR_TRY(sys::OwnedFd socket, sys::checked_fd(::fcntl(named.fd(), F_DUPFD_CLOEXEC, 0), "cannot use a socket"));
  return Door{.socket = std::move(socket), .named = std::move(named), .where = path};
}

Result<Door> tcp_door(const net::Endpoint& endpoint) {
  const sys::SocketAddress address = sys::SocketAddress::of(endpoint);
  const std::string where = endpoint.text();
  WEIR_TRY(sys::OwnedFd socket,
           sys::checked_fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "cannot listen"));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), address.get(), address.size) != 0) return sys::errno_error("cannot listen on " + where);
  if (::listen(socket.get(), kBacklog) != 0) return sys::errno_error("cannot listen on " + where);
  sys::SocketAddress bound;
  if (::getsockname(socket.get(), bound.get(), &bound.size) != 0) return sys::errno_error("cannot listen on " + where);
  const auto at = bound.endpoint();
  return Door{.socket = std::move(socket), .kind = Door::Kind::tokens, .where = at ? at->text() : where};
}

// A socket that a service manager passed: what it is decides who comes by it.
Result<Door> passed_door(int fd, const Config& config) {
  Door door{.socket = sys::OwnedFd(fd), .where = "passed socket " + std::to_string(fd)};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return sys::errno_error("cannot use " + door.where);
  }
  sys::SocketAddress bound;
  if (::getsockname(fd, bound.get(), &bound.size) != 0) return sys::errno_error(door.where + " is no socket");
  if (bound.family() == AF_UNIX) return door;
  const auto at = bound.endpoint();
  if (!at) return fail(door.where + " is of a family that weir does not serve");
  Config same = config;
  same.listen = at;
  if (config.token_file.empty() || (is_off_loopback(at->address) && config.tls_cert.empty())) {
    return std::unexpected(Error(door.where + " is a TCP socket")
                               .with_remedy("add --token-file, and off loopback --tls-cert and --tls-key"));
  }
  door.kind = Door::Kind::tokens;
  return door;
}

Result<int> passed_sockets() {
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::to_string(::getpid()) != pid) return 0;
  const int number = std::atoi(count);
  if (number < 0 || number > kMaxPassed) return fail("LISTEN_FDS is out of range");
  return number;
}

// As many as are told that there is no room; what comes beyond them is closed without a word.
constexpr std::size_t kMaxTurnedAway = 64;
constexpr unsigned kTurningSeconds = 1;

// Reads a little of what is asked first: who is still speaking when the connection ends may never see the answer. In
// the clear, also where TLS is spoken: no handshake is made for this.
Task<> turn_away(Server& server, sys::OwnedFd socket) {
  static constexpr std::string_view kBusy =
      "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
      "Content-Length: 104\r\n\r\n"
      R"({"error":{"code":"too_many","message":"as many connections as may be","remedy":"come back in a moment"}})";
  ++server.turned_away;
  {
    Waiter waiter(server.daemon.executor, socket.get());
    const Waited waited = co_await waiter.readable(in_seconds(kTurningSeconds));
    std::array<char, 4096> asked;
    if (waited == Waited::ready) static_cast<void>(::recv(socket.get(), asked.data(), asked.size(), MSG_DONTWAIT));
    static_cast<void>(::send(socket.get(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  }
  --server.turned_away;
}

// Counts a connection as long as it lives.
class Counted {
 public:
  explicit Counted(Metrics& metrics) : metrics_(metrics) { ++metrics_.connections_open; }
  ~Counted() { --metrics_.connections_open; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  Metrics& metrics_;
};

Task<> serve(Server& server, Door::Kind kind, sys::OwnedFd socket) {
  const Counted counted(server.daemon.metrics);
  const Access access{.tokens = kind == Door::Kind::tokens ? server.tokens : nullptr};
  if (kind == Door::Kind::tokens && server.tls != nullptr) {
    auto plain = co_await server.tls->accept(server.daemon.executor, std::move(socket));
    if (!plain.valid()) co_return;
    socket = std::move(plain);
  }
  co_await serve_connection(server.daemon, server.log, access, std::move(socket));
}

void prepare(int socket) {
  // Neither holds for a unix socket, which needs none of them.
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

Result<std::vector<Door>> open_doors(const Config& config) {
  std::vector<Door> doors;
  WEIR_TRY(const int passed, passed_sockets());
  for (int i = 0; i < passed; ++i) {
    WEIR_TRY(doors.emplace_back(), passed_door(kFirstPassed + i, config));
  }
  if (config.listen) {
    WEIR_TRY(doors.emplace_back(), tcp_door(*config.listen));
  }
  if (config.socket.empty() && !doors.empty()) return doors;
  const std::string path = config.socket.empty() ? default_socket() : config.socket;
  if (path.empty()) {
    return std::unexpected(Error("no place for a socket: XDG_RUNTIME_DIR is not set").with_remedy("add --socket=PATH"));
  }
  WEIR_TRY(doors.emplace_back(), unix_door(path));
  return doors;
}

Result<> reload_tokens(Server& server, const std::string& path) {
  WEIR_TRY(Tokens fresh, read_token_file(path));
  *server.tokens = std::move(fresh);
  server.daemon.guests.turn_out(
      [&](const Guest& guest) { return server.tokens->find_digest(guest.digest) == guest.who; });
  return {};
}

Task<> accept_all(Server& server, std::size_t door) {
  const int listener = server.doors[door].socket.get();
  Waiter waiter(server.daemon.executor, listener);
  Metrics& metrics = server.daemon.metrics;
  while (!server.daemon.ending) {
    sys::OwnedFd socket(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) {
      const int cause = errno;
      // Out of descriptors, or whatever else: it is tried again, and not at once.
      if (cause != EAGAIN) co_await sleep_until(Clock::now() + kExhausted);
      if (cause != EAGAIN) continue;
      const Waited waited = co_await waiter.readable(kNever);
      if (waited == Waited::failed) co_return;
      continue;
    }
    ++metrics.connections_total;
    if (metrics.connections_open >= server.daemon.limits.connections) {
      ++metrics.connections_refused;
      if (server.turned_away < kMaxTurnedAway) {
        asio::co_spawn(server.daemon.executor, turn_away(server, std::move(socket)), asio::detached);
      }
      continue;
    }
    prepare(socket.get());
    asio::co_spawn(server.daemon.executor, serve(server, server.doors[door].kind, std::move(socket)), asio::detached);
  }
}

}  // namespace weir::daemon
