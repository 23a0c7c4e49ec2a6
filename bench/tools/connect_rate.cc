// connect_rate ADDRESS:PORT [parallel=32] [total=10000] [expect=answer|refused] [proxy=ADDRESS:PORT]
// [socks=ADDRESS:PORT] [http=HOST] [tls=1]
//
// One connection per request: connect, send a byte (http=HOST: a GET for that host; tls=1: a ClientHello), read the
// answer, wait for the server to close. With expect=refused: how fast connects fail with ECONNREFUSED. With a proxy:
// through an HTTP CONNECT or a SOCKS5 CONNECT to it, one tunnel per request. Latency is connect() to the answer (or to
// the refusal). Prints "started" before anything else.
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <array>
#include <cstdio>
#include <vector>

#include "tool.h"

namespace weir::bench {
namespace {

enum class Expect : std::uint8_t { answer, refused };
// Without any event for so long the run is over, and what is open counts as an error.
constexpr int kPatienceMs = 30'000;
constexpr int kRefusalPatienceMs = 3000;

struct Slot {
  sys::OwnedFd fd;
  std::uint64_t began_ns = 0;
  enum class State : std::uint8_t { connecting, greeting, tunnelling, asked, answered } state = State::connecting;
};

// What comes before the request: nothing, or how a proxy is asked for a tunnel to the target.
struct Tunnel {
  std::string greeting;  // SOCKS5's first message; its answer is awaited
  std::string request;
};
constexpr std::string_view kSocksGreeting{"\5\1\0", 3};  // RFC 1928 3: no authentication
constexpr std::string_view kSocksAccepted{"\5\0", 2};

Tunnel http_tunnel(const std::string& target) {
  return {.greeting = "", .request = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"};
}

// RFC 1928 4: CONNECT to an IPv4 address.
Tunnel socks_tunnel(const sys::SocketAddress& target) {
  const net::Endpoint to = *target.endpoint();
  std::string request("\5\1\0\1", 4);
  for (const std::uint8_t octet : to.address.v4_octets()) request += static_cast<char>(octet);
  request += static_cast<char>(to.port >> 8);
  request += static_cast<char>(to.port & 0xff);
  return {.greeting = std::string(kSocksGreeting), .request = request};
}

class Run {
 public:
  // `request`: what is sent. `tunnel`: what makes a proxy at `target` connect to where the byte shall go; empty
  // without.
  Run(const sys::SocketAddress& target, Tunnel tunnel, std::string request, std::uint64_t parallel, std::uint64_t total,
      Expect expect)
      : target_(target),
        tunnel_(std::move(tunnel)),
        request_(std::move(request)),
        expect_(expect),
        left_(total),
        slots_(std::min(parallel, total)) {
    latency_.reserve(total);
  }

  void run() {
    for (std::size_t i = 0; i < slots_.size(); ++i) next(i);
    while (active_ > 0) {
      const auto& events = poller_.wait(expect_ == Expect::refused ? kRefusalPatienceMs : kPatienceMs);
      if (events.empty()) break;
      for (const auto& event : events) step(event.id, event.events);
    }
    errors_ += active_ + left_;
  }

  std::uint64_t good() const { return good_; }
  std::uint64_t errors() const { return errors_; }
  int last_error() const { return last_error_; }
  Samples& latency() { return latency_; }

 private:
  // Connections that end at once must not nest: a loop, not a recursion.
  void next(std::size_t index) {
    while (left_ > 0 && !begin(index)) {
    }
  }

  // True when the slot has a connection under way.
  bool begin(std::size_t index) {
    Slot& slot = slots_[index];
    --left_;
    slot.fd = tcp_socket(target_.family());
    slot.state = Slot::State::connecting;
    slot.began_ns = now_ns();
    if (::connect(slot.fd.get(), target_.get(), target_.size) != 0 && errno != EINPROGRESS) {
      count(slot, errno);
      return false;
    }
    poller_.add(slot.fd.get(), EPOLLOUT | EPOLLIN | EPOLLRDHUP | EPOLLET, index);
    ++active_;
    return true;
  }

  void count(Slot& slot, int error) {
    const bool as_expected =
        expect_ == Expect::refused ? error == ECONNREFUSED : error == 0 && slot.state == Slot::State::answered;
    if (as_expected && expect_ == Expect::refused) latency_.add(now_ns() - slot.began_ns);
    if (as_expected) {
      ++good_;
    } else {
      ++errors_;
      last_error_ = error != 0 ? error : EPIPE;
    }
    slot.fd.reset();
  }

  void step(std::size_t index, std::uint32_t events) {
    Slot& slot = slots_[index];
    if (!slot.fd.valid()) return;
    if (slot.state == Slot::State::connecting && !ask(slot, events)) return finish(index, last_connect_error_);
    std::array<char, 1024> buffer{};
    for (;;) {
      const ssize_t size = ::recv(slot.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (size < 0) {
        if (errno != EAGAIN) finish(index, errno);
        return;
      }
      if (size == 0) return finish(index, 0);
      if (slot.state == Slot::State::greeting || slot.state == Slot::State::tunnelling) {
        if (!advance(slot, std::string_view(buffer.data(), static_cast<std::size_t>(size))))
          return finish(index, EPROTO);
        continue;
      }
      if (slot.state == Slot::State::asked) latency_.add(now_ns() - slot.began_ns);
      slot.state = Slot::State::answered;
    }
  }

  // The next step towards a tunnel that stands. False: the proxy gave none.
  bool advance(Slot& slot, std::string_view answer) const {
    if (slot.state == Slot::State::greeting) {
      slot.state = Slot::State::tunnelling;
      return answer == kSocksAccepted && send(slot, tunnel_.request);
    }
    const bool http = answer.starts_with("HTTP/1.") && answer.find(" 200 ") <= 9 && answer.ends_with("\r\n\r\n");
    const bool stands = tunnel_.greeting.empty() ? http : answer.starts_with(kSocksAccepted);
    slot.state = Slot::State::asked;
    return stands && send(slot, request_);
  }

  // False when the connect failed.
  bool ask(Slot& slot, std::uint32_t events) {
    last_connect_error_ = 0;
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return true;
    socklen_t size = sizeof last_connect_error_;
    ::getsockopt(slot.fd.get(), SOL_SOCKET, SO_ERROR, &last_connect_error_, &size);
    if (last_connect_error_ != 0) return false;
    using State = Slot::State;
    const bool direct = tunnel_.request.empty();
    slot.state = direct ? State::asked : tunnel_.greeting.empty() ? State::tunnelling : State::greeting;
    if (send(slot, direct ? request_ : tunnel_.greeting.empty() ? tunnel_.request : tunnel_.greeting)) return true;
    last_connect_error_ = errno;
    return false;
  }

  static bool send(const Slot& slot, std::string_view text) {
    return ::send(slot.fd.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }

  void finish(std::size_t index, int error) {
    count(slots_[index], error);
    --active_;
    next(index);
  }

  sys::SocketAddress target_;
  Tunnel tunnel_;
  std::string request_;
  Expect expect_;
  std::uint64_t left_;
  std::vector<Slot> slots_;
  Poller poller_;
  Samples latency_;
  std::uint64_t active_ = 0;
  std::uint64_t good_ = 0;
  std::uint64_t errors_ = 0;
  int last_error_ = 0;
  int last_connect_error_ = 0;
};

// A ClientHello as long as browsers send it (517 bytes, RFC 7685) and without a server name.
std::string client_hello() {
  using namespace std::string_literals;
  constexpr std::size_t kRecord = 512;
  const auto sized = [](std::size_t size) {
    return std::string{static_cast<char>(size >> 8), static_cast<char>(size)};
  };
  const std::string fixed = "\3\3"s + std::string(32, 'r') + "\0\0\2\x13\1\1\0"s;
  const std::size_t padding = kRecord - 4 - fixed.size() - 2 - 4;
  const std::string body = fixed + sized(padding + 4) + "\0\x15"s + sized(padding) + std::string(padding, '\0');
  return "\x16\3\1"s + sized(kRecord) + "\1\0"s + sized(body.size()) + body;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir;
  using namespace weir::bench;
  const Arguments arguments =
      Arguments::parse(argc, argv, 1, "connect_rate ADDRESS:PORT [parallel=N] [total=N] [expect=refused]");
  const Expect expect = arguments.text("expect", "answer") == "refused" ? Expect::refused : Expect::answer;
  raise_descriptor_limit();
  const std::string& target = arguments.words[0];
  const std::string socks = arguments.text("socks", "");
  const std::string proxy = arguments.text("proxy", socks);
  const Tunnel tunnel = proxy.empty()   ? Tunnel()
                        : socks.empty() ? http_tunnel(target)
                                        : socks_tunnel(address_of(target));
  const std::string host = arguments.text("http", "");
  const std::string plain = arguments.number("tls", 0) != 0 ? client_hello() : "x";
  const std::string request = host.empty() ? plain : "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
  Run run(address_of(proxy.empty() ? target : proxy), tunnel, request, arguments.number("parallel", 32),
          arguments.number("total", 10'000), expect);
  std::puts("started");
  std::fflush(stdout);
  const std::uint64_t resent = tcp_counter("TCPSynRetrans");
  const std::uint64_t began = now_ns();
  run.run();
  JsonWriter json;
  json.begin_object()
      .field("elapsed_ns", now_ns() - began)
      .field("done", run.good())
      .field("errors", run.errors())
      .field("last_errno", static_cast<std::int64_t>(run.last_error()))
      .field("syn_retransmits", tcp_counter("TCPSynRetrans") - resent)
      .field("cpu_us", own_cpu_us());
  run.latency().write(json);
  print(json.end_object());
}
