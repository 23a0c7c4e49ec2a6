// An interactive terminal over a WebSocket (RFC 6455).
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <charconv>

#include "base/json_document.h"
#include "daemon/handlers.h"
#include "daemon/output.h"
#include "daemon/session_call.h"
#include "wire/json_fields.h"

namespace weir::daemon {

namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using wire::ErrorCode;
using wire::refuse;
using Socket = asio::generic::stream_protocol::socket;

constexpr std::size_t kMaxMessage = 1u << 20;
constexpr std::size_t kPiece = 16384;
constexpr unsigned kCloseSeconds = 5;
// How often a wait looks whether it is over: what a command left running can keep its terminal open.
constexpr unsigned kLookSeconds = 1;
constexpr const char* kDefaultShell = "if command -v bash >/dev/null; then exec bash -i; else exec sh -i; fi";

// One terminal and who looks at it. Three coroutines share it; the first that ends ends the others.
struct Terminal {
  Terminal(const Executor& executor, Socket socket, SessionCall asked, sys::OwnedFd passed, std::uint32_t number)
      : stream(std::move(socket)),
        session(std::move(asked)),
        master(std::move(passed)),
        pid(number),
        master_in(executor, duplicate.get()),
        master_out(executor, master.get()) {}

  websocket::stream<Socket> stream;
  SessionCall session;
  sys::OwnedFd master;
  sys::OwnedFd duplicate{::fcntl(master.get(), F_DUPFD_CLOEXEC, 0)};
  std::uint32_t pid;
  Waiter master_in;
  Waiter master_out;
  bool writing = false;
  bool output_ended = false;
  bool client_gone = false;
};
using Shared = std::shared_ptr<Terminal>;

struct Size {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

wire::Answer<std::uint16_t> dimension(const Target& target, std::string_view name, std::uint16_t otherwise) {
  const std::string_view text = parameter(target, name);
  if (text.empty()) return otherwise;
  std::uint16_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed == std::errc() && end == text.data() + text.size() && number > 0 && number <= 10000) return number;
  return refuse(ErrorCode::bad_request, "'" + std::string(name) + "' is no number from 1 to 10000");
}

Result<Size> size_of(std::string_view message) {
  WEIR_TRY(const Json object, parse_json(message));
  const Json* const resize = json_member(object, "resize");
  if (resize == nullptr || !resize->is_object()) return fail("no 'resize'");
  wire::JsonFields fields(*resize);
  Size size;
  WEIR_CHECK_OK(fields.number("rows", size.rows, 1, 10000));
  WEIR_CHECK_OK(fields.number("columns", size.columns, 1, 10000));
  return size;
}

// What the terminal shows, to the client.
Task<> show(Shared terminal) {
  std::array<char, kPiece> buffer;
  while (!terminal->client_gone) {
    const ssize_t count = ::read(terminal->master.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      const Waited waited = co_await terminal->master_out.readable(in_seconds(kLookSeconds));
      if (waited != Waited::failed) continue;
    }
    // EIO: nobody has the other side open any more.
    if (count <= 0) break;
    terminal->stream.binary(true);
    terminal->writing = true;
    const auto [failed, sent] =
        co_await terminal->stream.async_write(asio::buffer(buffer.data(), static_cast<std::size_t>(count)), kAsTuple);
    static_cast<void>(sent);
    terminal->writing = false;
    if (failed) terminal->client_gone = true;
  }
  terminal->output_ended = true;
}

Task<> type(Shared terminal, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(terminal->duplicate.get(), bytes.data(), bytes.size());
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    if (count >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) co_return;
    const Waited waited = co_await terminal->master_in.writable(in_seconds(kLookSeconds));
    if (waited == Waited::failed || terminal->client_gone) co_return;
  }
}

// What the client says, to the terminal; its end is the end of the command.
Task<> listen(Daemon& daemon, Shared terminal) {
  beast::flat_buffer buffer;
  while (true) {
    const auto [failed, count] = co_await terminal->stream.async_read(buffer, kAsTuple);
    static_cast<void>(count);
    if (failed) break;
    const auto data = buffer.cdata();
    const std::string message(static_cast<const char*>(data.data()), data.size());
    buffer.consume(buffer.size());
    if (terminal->stream.got_binary()) {
      co_await type(terminal, message);
      continue;
    }
    const auto size = size_of(message);
    if (!size) break;
    const wire::ResizeTerminal resize{.pid = terminal->pid, .rows = size->rows, .columns = size->columns};
    const auto resized = co_await ask_session(daemon, terminal->session.id(), machine_owner(), resize);
    static_cast<void>(resized);
  }
  terminal->client_gone = true;
  // The connection that began the command takes it along.
  terminal->session.close();
}

Task<bool> say(Shared terminal, std::string text) {
  terminal->stream.text(true);
  const auto [failed, sent] = co_await terminal->stream.async_write(asio::buffer(text), kAsTuple);
  static_cast<void>(sent);
  co_return !failed;
}

// Waits for the end of the command and tells it.
Task<> attend(Shared terminal) {
  std::string last;
  while (last.empty()) {
    auto reply = co_await terminal->session.receive(kNever);
    if (!reply) {
      last = wire::error_line(reply.error());
    } else if (const auto* const exited = reply->as<wire::ExitedProcess>()) {
      last = "{\"exited\":" + object_without_end(*exited) + "}}";
    }
  }
  // What it printed last comes before; what goes on printing is not waited for.
  const Deadline patience = in_seconds(1);
  while (!terminal->output_ended && !terminal->client_gone && Clock::now() < patience) {
    co_await sleep_until(Clock::now() + std::chrono::milliseconds(5));
  }
  // One message at a time.
  while (terminal->writing && !terminal->client_gone) {
    co_await sleep_until(Clock::now() + std::chrono::milliseconds(5));
  }
  const bool was_there = !terminal->client_gone;
  terminal->client_gone = true;
  if (was_there) {
    const bool told = co_await say(terminal, std::move(last));
    static_cast<void>(told);
    const auto [failed] = co_await terminal->stream.async_close(websocket::close_code::normal, kAsTuple);
    static_cast<void>(failed);
  }
  boost::system::error_code ignored;
  static_cast<void>(terminal->stream.next_layer().close(ignored));
}

// The request once more, for Beast: it was read by its parser, but not kept.
Task<wire::Answer<>> shake_hands(Shared terminal, RequestHead head) {
  beast::http::request<beast::http::empty_body> request;
  request.method(beast::http::verb::get);
  request.target(head.target);
  request.version(11);
  request.set(beast::http::field::host, "weir");
  request.set(beast::http::field::connection, "upgrade");
  request.set(beast::http::field::upgrade, "websocket");
  request.set(beast::http::field::sec_websocket_key, head.websocket_key);
  request.set(beast::http::field::sec_websocket_version, head.websocket_version);
  websocket::stream_base::timeout timeout = websocket::stream_base::timeout::suggested(beast::role_type::server);
  timeout.handshake_timeout = std::chrono::seconds(kCloseSeconds);
  terminal->stream.set_option(timeout);
  terminal->stream.read_message_max(kMaxMessage);
  terminal->stream.auto_fragment(false);
  const auto [failed] = co_await terminal->stream.async_accept(request, kAsTuple);
  if (failed) co_return refuse(ErrorCode::bad_request, "no WebSocket");
  co_return wire::Answer<>();
}

wire::Answer<Socket> socket_of(Exchange& exchange, const Executor& executor) {
  auto [fd, early] = exchange.take_over();
  // A client that says something before it is answered speaks another protocol.
  if (!early.empty()) return refuse(ErrorCode::bad_request, "bytes before the answer");
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size);
  Socket socket(executor);
  boost::system::error_code failed;
  static_cast<void>(socket.assign(asio::generic::stream_protocol(own.ss_family, 0), fd.get(), failed));
  if (failed) return refuse(ErrorCode::internal, "cannot use the connection");
  fd.release();
  return socket;
}

}  // namespace

Task<Outcome> open_shell(Call& call, std::string) {
  const RequestHead head = call.exchange.head();
  if (!head.is_upgrade) co_return refuse(ErrorCode::bad_request, "no WebSocket", "send Upgrade: websocket");
  WEIR_CO_TRY(const std::uint16_t rows, dimension(call.target, "rows", 24));
  WEIR_CO_TRY(const std::uint16_t columns, dimension(call.target, "columns", 80));
  const std::string_view command = parameter(call.target, "command");
  wire::RunProcess run{.argv = {"/bin/sh", "-c", command.empty() ? kDefaultShell : std::string(command)}};
  run.terminal = true;
  run.rows = rows;
  run.columns = columns;
  auto session = co_await SessionCall::open(call.daemon, call.parameter(0), call.who);
  WEIR_CO_CHECK(session);
  WEIR_CO_CHECK(session->send(run));
  auto reply = co_await session->receive(in_seconds(SessionCall::kPatience));
  WEIR_CO_CHECK(reply);
  const auto* const started = reply->as<wire::StartedProcess>();
  if (started == nullptr || reply->passed.size() != 1) co_return refuse(ErrorCode::internal, "no terminal was passed");
  const std::uint32_t pid = started->pid;
  sys::OwnedFd master = std::move(reply->passed[0]);
  const int flags = ::fcntl(master.get(), F_GETFL);
  if (::isatty(master.get()) != 1 || flags < 0 || ::fcntl(master.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    co_return refuse(ErrorCode::internal, "what was passed is no terminal");
  }
  WEIR_CO_TRY(Socket socket, socket_of(call.exchange, call.daemon.executor));
  const auto terminal =
      std::make_shared<Terminal>(call.daemon.executor, std::move(socket), std::move(*session), std::move(master), pid);
  const auto shaken = co_await shake_hands(terminal, head);
  if (!shaken) co_return nobody_there();
  const bool told = co_await say(terminal, "{\"started\":{\"pid\":" + std::to_string(pid) + "}}");
  if (!told) co_return nobody_there();
  asio::co_spawn(call.daemon.executor, show(terminal), asio::detached);
  asio::co_spawn(call.daemon.executor, listen(call.daemon, terminal), asio::detached);
  co_await attend(terminal);
  co_return streamed(101);
}

}  // namespace weir::daemon
