#include "supervisor/session/line_server.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "sys/errno.h"

namespace weir::supervisor {

struct LineServer::Client {
  explicit Client(sys::LineStream connection)
      : stream(std::move(connection)), on_readable(nullptr), on_writable(nullptr) {}

  sys::LineStream stream;
  sys::CallbackHandler on_readable;
  sys::CallbackHandler on_writable;  // while there is a rest
  sys::Reactor::TimerId deadline = 0;
  std::uint64_t lines = 0;
  bool ended = false;  // nobody looks at what it says
  std::string rest;    // of its last line; not empty: the owner has done with it
};

LineServer::LineServer(sys::Reactor& reactor, sys::UnixListener listener, Bounds bounds, Owner& owner)
    : reactor_(reactor),
      listener_(std::move(listener)),
      bounds_(bounds),
      owner_(owner),
      on_connection_([this](std::uint32_t) { accept(); }) {}

LineServer::~LineServer() {
  reactor_.cancel(resume_);
  reactor_.forget(listener_.fd());
  while (!clients_.empty()) drop(clients_.begin()->first);
}

Result<std::unique_ptr<LineServer>> LineServer::serve(sys::Reactor& reactor, sys::UnixListener listener, Bounds bounds,
                                                      Owner& owner) {
  std::unique_ptr<LineServer> self(new LineServer(reactor, std::move(listener), bounds, owner));
  WEIR_CHECK_OK(reactor.watch(self->listener_.fd(), EPOLLIN, self->on_connection_));
  return self;
}

bool LineServer::shut() {
  listener_.shut();
  reactor_.forget(listener_.fd());
  while (accept()) {
  }
  // Out of descriptors: somebody may wait whom nobody can ask what he wants.
  const bool missed = resume_ != 0;
  reactor_.cancel(std::exchange(resume_, 0));
  return clients_.empty() && !missed;
}

Result<> LineServer::open_again() {
  WEIR_CHECK_OK(listener_.open_again());
  return reactor_.watch(listener_.fd(), EPOLLIN, on_connection_);
}

bool LineServer::accept() {
  auto accepted = listener_.accept();
  if (!accepted.socket.valid()) {
    if (sys::is_exhaustion(errno)) pause();
    return false;
  }
  auto stream = sys::LineStream::of(std::move(accepted.socket), bounds_.max_line);
  if (!stream) return true;
  const ClientId id = ++last_client_;
  auto client = std::make_unique<Client>(std::move(*stream));
  client->on_readable = sys::CallbackHandler([this, id](std::uint32_t) { read(id); });
  Client& added = *clients_.emplace(id, std::move(client)).first->second;
  if (clients_.size() == 1) owner_.on_clients_changed();
  const bool is_owner = accepted.peer == sys::UnixListener::Accepted::Peer::same_user;
  if (!is_owner || clients_.size() > bounds_.max_clients) {
    send_away(id, is_owner ? Trouble::too_many : Trouble::another_user);
    return true;
  }
  added.deadline = reactor_.at(sys::monotonic_ms() + kPatienceMs, [this, id] { send_away(id, Trouble::too_late); });
  if (!reactor_.watch(added.stream.fd(), EPOLLIN, added.on_readable)) drop(id);
  return true;
}

// Whoever waits stays queued, and the listener readable: asked at once it would only say so again.
void LineServer::pause() {
  reactor_.change(listener_.fd(), 0, on_connection_);
  resume_ = reactor_.at(reactor_.now_ms() + kAcceptAgainMs, [this] {
    resume_ = 0;
    reactor_.change(listener_.fd(), EPOLLIN, on_connection_);
  });
}

void LineServer::read(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end() || found->second->ended) return;
  const auto state = found->second->stream.read();
  if (!state && state.error().code() == EMSGSIZE) return send_away(id, Trouble::too_large);
  hand_over(id);
  if (!has(id)) return;
  if (state && *state == sys::LineStream::State::open) return;
  if (state && clients_.at(id)->lines == 0) return send_away(id, Trouble::no_end);
  ended(id);
}

// The owner may drop the client at any line.
void LineServer::hand_over(ClientId id) {
  for (auto found = clients_.find(id); found != clients_.end(); found = clients_.find(id)) {
    Client& client = *found->second;
    if (client.ended) return;
    auto line = client.stream.next();
    if (!line) return;
    const std::uint64_t number = ++client.lines;
    reactor_.cancel(client.deadline);
    owner_.on_line(id, number, std::move(*line));
  }
}

// From here on nobody looks at the socket: one that has hung up would only say so again and again.
void LineServer::ended(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end() || found->second->ended) return;
  Client& client = *found->second;
  client.ended = true;
  reactor_.cancel(client.deadline);
  reactor_.forget(client.stream.fd());
  if (client.lines == 0) return drop(id);
  owner_.on_end(id);
}

void LineServer::send_away(ClientId id, Trouble trouble) {
  finish(id, owner_.line_of(trouble));
}

bool LineServer::has_more(ClientId client) const {
  const auto found = clients_.find(client);
  return found != clients_.end() && found->second->stream.has_more();
}

void LineServer::send(ClientId client, std::string_view line, std::span<const int> passed) {
  const auto found = clients_.find(client);
  if (found == clients_.end() || !found->second->rest.empty()) return;
  if (found->second->stream.send(line, passed, 0)) return;
  // Not from in here: the owner is in the middle of something.
  reactor_.at(reactor_.now_ms(), [this, client] { ended(client); });
}

// Who is gone is not told.
void LineServer::finish(ClientId client, std::string_view line, std::span<const int> passed) {
  const auto found = clients_.find(client);
  if (found == clients_.end() || !found->second->rest.empty()) return;
  Client& last = *found->second;
  const auto sent = last.stream.send_some(line, passed);
  if (sent && *sent < line.size()) {
    last.rest = line.substr(*sent);
    last.ended = true;
    reactor_.cancel(last.deadline);
    reactor_.forget(last.stream.fd());
    last.deadline = reactor_.at(sys::monotonic_ms() + kReadPatienceMs, [this, client] { drop(client); });
    last.on_writable = sys::CallbackHandler([this, client](std::uint32_t) { send_rest(client); });
    if (reactor_.watch(last.stream.fd(), EPOLLOUT, last.on_writable)) return;
  }
  part(client);
}

void LineServer::send_rest(ClientId client) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  std::string& rest = found->second->rest;
  const auto sent = found->second->stream.send_some(rest, {});
  if (sent) rest.erase(0, *sent);
  if (!sent || rest.empty()) part(client);
}

// What nobody read would reset the connection, and the client might miss the answer. No more can come after this.
void LineServer::part(ClientId client) {
  const int fd = clients_.at(client)->stream.fd();
  ::shutdown(fd, SHUT_RD);
  std::array<char, 4096> unread;
  while (::recv(fd, unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
  }
  drop(client);
}

void LineServer::drop(ClientId client) {
  auto node = clients_.extract(client);
  if (node.empty()) return;
  reactor_.cancel(node.mapped()->deadline);
  reactor_.forget(node.mapped()->stream.fd());
  node.mapped()->stream.close();
  reactor_.retire(std::move(node.mapped()));
  if (clients_.empty()) owner_.on_clients_changed();
}

}  // namespace weir::supervisor
