// load_server ADDRESS:PORT/BEHAVIOUR...
//
// One thread, edge-triggered. Behaviours: `echo` gives back what it reads; `once` answers one read with one byte and
// closes; `http` answers every read that ends a request head with 200 and one byte, and keeps the connection.
// Prints "ready" when all listen; ends with its standard input.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include <array>
#include <cstdio>
#include <unordered_map>

#include "tool.h"

namespace weir::bench {
namespace {

enum class Behaviour : std::uint8_t { echo, once, http };

constexpr int kBacklog = 65535;  // the kernel cuts it to somaxconn
constexpr std::uint64_t kStandardInput = 0;
constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n.";

struct Peer {
  sys::OwnedFd fd;
  Behaviour behaviour = Behaviour::echo;
  enum class Role : std::uint8_t { listener, connection } role = Role::connection;
};

Behaviour behaviour_of(std::string_view text) {
  if (text == "echo") return Behaviour::echo;
  if (text == "once") return Behaviour::once;
  if (text == "http") return Behaviour::http;
  die("no behaviour " + std::string(text));
}

sys::OwnedFd listen_on(std::string_view where) {
  const sys::SocketAddress address = address_of(where);
  sys::OwnedFd fd = tcp_socket(address.family());
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), kBacklog) != 0)
    die_errno("cannot listen on " + std::string(where));
  return fd;
}

class Server {
 public:
  void serve(std::string_view spec) {
    const auto slash = spec.rfind('/');
    if (slash == std::string_view::npos) die(std::string(spec) + " is not ADDRESS:PORT/BEHAVIOUR");
    add({listen_on(spec.substr(0, slash)), behaviour_of(spec.substr(slash + 1)), Peer::Role::listener}, EPOLLIN);
  }

  void run() {
    poller_.add(STDIN_FILENO, EPOLLIN, kStandardInput);
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
      for (const auto& event : poller_.wait(-1)) {
        if (event.id == kStandardInput) return;
        const auto found = peers_.find(event.id);
        if (found == peers_.end()) continue;
        if (found->second.role == Peer::Role::listener) {
          accept_all(found->second);
        } else if (!answer(found->second)) {
          peers_.erase(found);
        }
      }
    }
  }

 private:
  void add(Peer peer, std::uint32_t events) {
    poller_.add(peer.fd.get(), events, ++last_id_);
    peers_.emplace(last_id_, std::move(peer));
  }

  void accept_all(const Peer& listener) {
    const int listening = listener.fd.get();
    const Behaviour behaviour = listener.behaviour;  // add() may move the table
    for (;;) {
      sys::OwnedFd fd(::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) return;
      const int on = 1;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      add({std::move(fd), behaviour, Peer::Role::connection}, EPOLLIN | EPOLLRDHUP | EPOLLET);
    }
  }

  // False when the connection is over. Answers are shorter than any send buffer unless a client does not read; such
  // a client is dropped.
  bool answer(const Peer& peer) {
    for (;;) {
      const ssize_t size = ::recv(peer.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (size < 0) return errno == EAGAIN;
      if (size == 0) return false;
      const auto length = static_cast<std::size_t>(size);
      std::string_view out(buffer_.data(), length);
      if (peer.behaviour == Behaviour::once) out = out.substr(0, 1);
      if (peer.behaviour == Behaviour::http) out = out.ends_with("\r\n\r\n") ? kAnswer : std::string_view();
      if (!out.empty() &&
          ::send(peer.fd.get(), out.data(), out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out.size()))
        return false;
      if (peer.behaviour == Behaviour::once) return false;
      if (length < buffer_.size()) return true;
    }
  }

  Poller poller_;
  std::unordered_map<std::uint64_t, Peer> peers_;
  std::uint64_t last_id_ = kStandardInput;
  std::array<char, 16384> buffer_{};
};

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  raise_descriptor_limit();
  Server server;
  for (const std::string& spec : arguments.words) server.serve(spec);
  server.run();
}
