#include "supervisor/control_socket.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace weir::supervisor {

struct ControlSocket::Client {
  explicit Client(sys::OwnedFd fd) : socket(std::move(fd)), on_readable(nullptr) {}

  sys::OwnedFd socket;
  std::string line;  // what came of it so far
  sys::CallbackHandler on_readable;
  sys::Reactor::TimerId deadline = 0;
};

wire::ControlReply refusal_of(std::string code, const Error& error) {
  return {.refused =
              wire::ControlReply::Refusal{.code = std::move(code), .message = error.what(), .remedy = error.remedy()}};
}

ControlSocket::ControlSocket(sys::Reactor& reactor, sys::UnixListener listener, Handler handler)
    : reactor_(reactor),
      listener_(std::move(listener)),
      handler_(std::move(handler)),
      on_connection_([this](std::uint32_t) { accept(); }) {}

ControlSocket::~ControlSocket() {
  reactor_.forget(listener_.fd());
  while (!clients_.empty()) drop(clients_.begin()->first);
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::listen(sys::Reactor& reactor, const std::string& path,
                                                             Handler handler) {
  WEIR_TRY(sys::UnixListener listener, sys::UnixListener::create(path));
  std::unique_ptr<ControlSocket> self(new ControlSocket(reactor, std::move(listener), std::move(handler)));
  WEIR_CHECK_OK(reactor.watch(self->listener_.fd(), EPOLLIN, self->on_connection_));
  return self;
}

void ControlSocket::accept() {
  auto accepted = listener_.accept();
  if (!accepted.socket.valid()) return;
  const std::uint64_t id = ++last_client_;
  auto client = std::make_unique<Client>(std::move(accepted.socket));
  client->on_readable = sys::CallbackHandler([this, id](std::uint32_t) { read(id); });
  Client& added = *clients_.emplace(id, std::move(client)).first->second;
  if (accepted.peer != sys::UnixListener::Accepted::Peer::same_user) {
    return refuse(id, "forbidden", "this sandbox is another user's", "ask as the user who started it");
  }
  if (clients_.size() > kMaxClients) {
    return refuse(id, "busy", "too many ask at the same time", "ask again in a moment");
  }
  added.deadline = reactor_.at(sys::monotonic_ms() + kPatienceMs, [this, id] {
    refuse(id, "timeout", "the line did not come to its end within 10 s", "end it with a newline");
  });
  if (!reactor_.watch(added.socket.get(), EPOLLIN, added.on_readable)) drop(id);
}

void ControlSocket::read(std::uint64_t id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = *found->second;
  std::array<char, 64 * 1024> buffer;
  const ssize_t count = ::recv(client.socket.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return drop(id);
  if (count == 0) return refuse(id, "incomplete", "the line has no end", "end it with a newline");
  client.line.append(buffer.data(), static_cast<std::size_t>(count));
  const std::size_t end = client.line.find('\n');
  if (std::min(end, client.line.size()) >= wire::ControlRequest::kMaxLine) {
    return refuse(id, "too_large", "the line is longer than 1 MiB", "write a shorter policy");
  }
  if (end == std::string::npos) return;
  if (end + 1 != client.line.size()) {
    return refuse(id, "malformed", "something follows the line", "connect once for each request");
  }
  const std::string line = client.line.substr(0, end);
  take_line(id, line);
}

// Until it is answered nobody looks at the socket: one that hangs up would only say so again and again.
void ControlSocket::take_line(std::uint64_t id, std::string_view line) {
  Client& client = *clients_.at(id);
  reactor_.forget(client.socket.get());
  reactor_.cancel(client.deadline);
  const auto request = wire::parse_control_request(line);
  if (!request) return answer(id, refusal_of("malformed", request.error()));
  handler_(*request, [this, id](const wire::ControlReply& reply) { answer(id, reply); });
}

void ControlSocket::refuse(std::uint64_t id, std::string code, std::string message, std::string remedy) {
  answer(id, {.refused = wire::ControlReply::Refusal{
                  .code = std::move(code), .message = std::move(message), .remedy = std::move(remedy)}});
}

void ControlSocket::answer(std::uint64_t id, const wire::ControlReply& reply) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  const std::string line = wire::control_reply_line(reply);
  const int socket = found->second->socket.get();
  // Its buffer is empty and takes far more than an answer. Who is gone is not told.
  static_cast<void>(::send(socket, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  // What nobody read would reset the connection, and the asker might miss the answer. No more can come after this.
  ::shutdown(socket, SHUT_RD);
  std::array<char, 4096> rest;
  while (::recv(socket, rest.data(), rest.size(), MSG_DONTWAIT) > 0) {
  }
  drop(id);
}

void ControlSocket::drop(std::uint64_t id) {
  auto node = clients_.extract(id);
  if (node.empty()) return;
  reactor_.cancel(node.mapped()->deadline);
  reactor_.forget(node.mapped()->socket.get());
  node.mapped()->socket.reset();
  reactor_.retire(std::move(node.mapped()));
}

}  // namespace weir::supervisor
