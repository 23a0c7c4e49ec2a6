#include "daemon/tls.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "daemon/waiter.h"

namespace weir::daemon {

namespace {

namespace ssl = asio::ssl;
using Socket = asio::generic::stream_protocol::socket;

constexpr unsigned kHandshakeSeconds = 10;
constexpr unsigned kStallSeconds = 60;
constexpr unsigned kShutdownSeconds = 5;
constexpr std::size_t kBuffer = 65536;

// One connection: `stream` to the network, `plain` to the daemon itself. Lives as long as one of its two directions.
struct Carrier {
  Carrier(const Executor& executor, Socket socket, ssl::context& context)
      : stream(std::move(socket), context), timer(executor) {}

  ssl::stream<Socket> stream;
  asio::steady_timer timer;
  std::uint64_t turn = 0;
  sys::OwnedFd plain;
  std::unique_ptr<Waiter> waiter;  // of `plain`; both directions wait without a deadline

  // Ends everything of the stream when the time is over, unless it was stopped.
  void limit(std::shared_ptr<Carrier> self, unsigned seconds) {
    const std::uint64_t mine = ++turn;
    timer.expires_after(std::chrono::seconds(seconds));
    timer.async_wait([self = std::move(self), mine](boost::system::error_code failed) {
      if (!failed && self->turn == mine) self->end();
    });
  }
  void no_limit() {
    ++turn;
    timer.cancel();
  }
  void end() {
    boost::system::error_code ignored;
    stream.lowest_layer().close(ignored);
    if (plain.valid()) ::shutdown(plain.get(), SHUT_RDWR);
  }
};

// From the network to the daemon.
Task<> carry_up(std::shared_ptr<Carrier> carrier) {
  std::array<char, kBuffer> buffer;
  while (true) {
    const auto [failed, count] = co_await carrier->stream.async_read_some(asio::buffer(buffer), kAsTuple);
    if (failed) break;
    std::string_view rest(buffer.data(), count);
    while (!rest.empty()) {
      const ssize_t sent = ::send(carrier->plain.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent > 0) rest.remove_prefix(static_cast<std::size_t>(sent));
      if (sent >= 0 || errno == EINTR) continue;
      if (errno != EAGAIN) break;
      const Waited waited = co_await carrier->waiter->writable(kNever);
      if (waited != Waited::ready) break;
    }
    if (!rest.empty()) break;
  }
  ::shutdown(carrier->plain.get(), SHUT_WR);
}

// From the daemon to the network. Its end is the end of both.
Task<> carry_down(std::shared_ptr<Carrier> carrier) {
  std::array<char, kBuffer> buffer;
  while (true) {
    const ssize_t got = ::recv(carrier->plain.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      const Waited waited = co_await carrier->waiter->readable(kNever);
      if (waited == Waited::ready) continue;
    }
    if (got <= 0) break;
    carrier->limit(carrier, kStallSeconds);
    const auto sent = asio::buffer(buffer.data(), static_cast<std::size_t>(got));
    const auto [failed, count] = co_await asio::async_write(carrier->stream, sent, kAsTuple);
    static_cast<void>(count);
    carrier->no_limit();
    if (failed) break;
  }
  carrier->limit(carrier, kShutdownSeconds);
  const auto [failed] = co_await carrier->stream.async_shutdown(kAsTuple);
  static_cast<void>(failed);
  carrier->no_limit();
  carrier->end();
}

}  // namespace

struct Tls::Context {
  ssl::context ssl{ssl::context::tls_server};
};

Tls::Tls(std::unique_ptr<Context> context) : context_(std::move(context)) {}
Tls::~Tls() = default;

Result<std::unique_ptr<Tls>> Tls::load(const std::string& certificate, const std::string& key) {
  auto context = std::make_unique<Context>();
  boost::system::error_code failed;
  const auto refused = [&](const std::string& path) {
    return std::unexpected(
        Error("cannot use " + path + ": " + failed.message()).with_remedy("give PEM files that fit"));
  };
  context->ssl.set_options(ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | ssl::context::no_compression |
                           ssl::context::single_dh_use);
  context->ssl.use_certificate_chain_file(certificate, failed);
  if (failed) return refused(certificate);
  context->ssl.use_private_key_file(key, ssl::context::pem, failed);
  if (failed) return refused(key);
  if (SSL_CTX_check_private_key(context->ssl.native_handle()) != 1) {
    return fail(key + " is not the key of " + certificate);
  }
  return std::unique_ptr<Tls>(new Tls(std::move(context)));
}

Task<sys::OwnedFd> Tls::accept(Executor executor, sys::OwnedFd socket) const {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size);
  Socket stream(executor);
  boost::system::error_code failed;
  stream.assign(asio::generic::stream_protocol(own.ss_family, 0), socket.get(), failed);
  if (failed) co_return sys::OwnedFd();
  socket.release();
  const auto carrier = std::make_shared<Carrier>(executor, std::move(stream), context_->ssl);
  carrier->limit(carrier, kHandshakeSeconds);
  const auto [refused] = co_await carrier->stream.async_handshake(ssl::stream_base::server, kAsTuple);
  carrier->no_limit();
  std::array<int, 2> ends{};
  if (refused || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    co_return sys::OwnedFd();
  }
  carrier->plain = sys::OwnedFd(ends[0]);
  carrier->waiter = std::make_unique<Waiter>(executor, ends[0]);
  asio::co_spawn(executor, carry_up(carrier), asio::detached);
  asio::co_spawn(executor, carry_down(carrier), asio::detached);
  co_return sys::OwnedFd(ends[1]);
}

}  // namespace weir::daemon
