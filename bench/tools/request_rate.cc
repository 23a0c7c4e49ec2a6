// request_rate ADDRESS:PORT [connections=1] [seconds=2] [bytes=1]
//
// Requests over connections that stay: each sends `bytes`, waits for as many back (a `load_server` with `echo`), sends
// again. Latency is send to the last byte of the answer.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>

#include <vector>

#include "tool.h"

namespace weir::bench {
namespace {

struct Connection {
  sys::OwnedFd fd;
  std::uint64_t sent_ns = 0;
  std::size_t missing = 0;
};

sys::OwnedFd connected(const sys::SocketAddress& target) {
  sys::OwnedFd fd = tcp_socket(target.family());
  if (::connect(fd.get(), target.get(), target.size) != 0 && errno != EINPROGRESS) die_errno("cannot connect");
  pollfd ready{.fd = fd.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, 10'000) != 1) die("no connection within 10 s");
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  errno = error;
  if (error != 0) die_errno("cannot connect");
  return fd;
}

class Run {
 public:
  Run(const sys::SocketAddress& target, std::size_t connections, std::size_t bytes)
      : request_(bytes, 'x'), answer_(bytes), connections_(connections) {
    latency_.reserve(1'000'000);
    for (std::size_t i = 0; i < connections; ++i) {
      connections_[i].fd = connected(target);
      poller_.add(connections_[i].fd.get(), EPOLLIN, i);
    }
  }

  void run(std::uint64_t nanoseconds) {
    const std::uint64_t end = now_ns() + nanoseconds;
    for (Connection& connection : connections_) ask(connection);
    while (now_ns() < end) {
      for (const auto& event : poller_.wait(1000)) read(connections_[event.id]);
    }
  }

  Samples& latency() { return latency_; }

 private:
  void ask(Connection& connection) {
    connection.missing = request_.size();
    connection.sent_ns = now_ns();
    if (::send(connection.fd.get(), request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size()))
      die_errno("cannot send a request");
  }

  void read(Connection& connection) {
    const ssize_t size = ::recv(connection.fd.get(), answer_.data(), connection.missing, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) die_errno("cannot read an answer");
    if (size == 0) die("a connection was closed");
    connection.missing -= static_cast<std::size_t>(size);
    if (connection.missing > 0) return;
    latency_.add(now_ns() - connection.sent_ns);
    ask(connection);
  }

  std::string request_;
  std::vector<char> answer_;
  std::vector<Connection> connections_;
  Poller poller_;
  Samples latency_;
};

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments =
      Arguments::parse(argc, argv, 1, "request_rate ADDRESS:PORT [connections=N] [seconds=N] [bytes=N]");
  raise_descriptor_limit();
  Run run(address_of(arguments.words[0]), arguments.number("connections", 1), arguments.number("bytes", 1));
  const std::uint64_t began = now_ns();
  run.run(arguments.number("seconds", 2) * 1'000'000'000);
  JsonWriter json;
  json.begin_object().field("elapsed_ns", now_ns() - began).field("cpu_us", own_cpu_us());
  run.latency().write(json);
  print(json.end_object());
}
