// request_rate ADDRESS:PORT [connections=1] [seconds=2] [bytes=1] [proxy=ADDRESS:PORT]
//
// Requests over connections that stay: each sends `bytes`, waits for as many back (a `load_server` with `echo`), sends
// again. With a proxy: GET requests in absolute form to it, answered with one byte (a `load_server` with `http`).
// Latency is send to the last byte of the answer.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <vector>

#include "tool.h"

namespace weir::bench {
namespace {

struct Connection {
  sys::OwnedFd fd;
  std::uint64_t sent_ns = 0;
  std::size_t missing = 0;
  std::string head;  // of an answer to a GET, as far as it was read
};

constexpr std::size_t kLongestHead = 4096;
constexpr std::string_view kEndOfHead = "\r\n\r\n";
constexpr std::size_t kBody = 1;

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
  enum class Answer : std::uint8_t { as_long, http };

  Run(const sys::SocketAddress& target, std::size_t connections, std::string request, Answer answer)
      : request_(std::move(request)),
        expect_(answer),
        answer_(std::max(request_.size(), kLongestHead)),
        connections_(connections) {
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
    connection.missing = expect_ == Answer::http ? kLongestHead : request_.size();
    connection.head.clear();
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
    if (expect_ == Answer::http) {
      if (!whole(connection, std::string_view(answer_.data(), static_cast<std::size_t>(size)))) return;
    } else if (connection.missing > 0) {
      return;
    }
    latency_.add(now_ns() - connection.sent_ns);
    ask(connection);
  }

  // A whole answer, which must be a 200.
  static bool whole(Connection& connection, std::string_view read) {
    connection.head += read;
    const auto end = connection.head.find(kEndOfHead);
    if (end == std::string::npos || connection.head.size() < end + kEndOfHead.size() + kBody) {
      if (connection.missing == 0) die("an answer's head has no end");
      return false;
    }
    if (!connection.head.starts_with("HTTP/1.1 200 ")) die("not a 200: " + connection.head.substr(0, 40));
    return true;
  }

  std::string request_;
  Answer expect_;
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
  const std::string& target = arguments.words[0];
  const std::string proxy = arguments.text("proxy", "");
  const std::string request = proxy.empty() ? std::string(arguments.number("bytes", 1), 'x')
                                            : "GET http://" + target + "/ HTTP/1.1\r\nHost: " + target + "\r\n\r\n";
  Run run(address_of(proxy.empty() ? target : proxy), arguments.number("connections", 1), request,
          proxy.empty() ? Run::Answer::as_long : Run::Answer::http);
  const std::uint64_t began = now_ns();
  run.run(arguments.number("seconds", 2) * 1'000'000'000);
  JsonWriter json;
  json.begin_object().field("elapsed_ns", now_ns() - began).field("cpu_us", own_cpu_us());
  run.latency().write(json);
  print(json.end_object());
}
