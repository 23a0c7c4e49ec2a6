// udp_stream serve ADDRESS:PORT
// udp_stream ADDRESS:PORT [direction=up|down] [size=1400] [ms=500] [window=64]
//
// Datagrams as fast as they get through without being lost: the source is never more than `window` ahead of what the
// other side has acknowledged. window=0, up only: as fast as it can send, whatever is lost. Counted is what arrived.
// Both ends send and receive many with one call. The client prints "started" first; the server prints "ready" and ends
// with its standard input.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "tool.h"

namespace weir::bench {
namespace {

constexpr std::size_t kBatch = 32;
constexpr std::size_t kLongest = 2048;
constexpr std::uint32_t kAckEvery = 16;
constexpr int kPatienceMs = 20;         // without an acknowledgement: what was under way is lost
constexpr std::uint64_t kOffered = 64;  // of a source without a window, between two looks at the clock

// The beginning of every message. In the order of the machine: both ends are on it.
struct Head {
  enum class Kind : std::uint32_t { data, ack, want } kind;
  std::uint32_t number;  // data: its own; ack and want: the highest that arrived
  std::uint32_t count;   // ack: how many arrived. want: the window
  std::uint32_t size;    // want: of the datagrams
};

// Several messages for one call, each with room for the longest.
class Batch {
 public:
  Batch() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      parts_[i] = {.iov_base = bytes_[i].data(), .iov_len = kLongest};
      messages_[i] = {};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  // How many messages were read: 0 when none waits. `from`: who sent the last one.
  std::size_t receive(int fd, sys::SocketAddress* from) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      parts_[i].iov_len = kLongest;
      messages_[i].msg_hdr.msg_name = from == nullptr ? nullptr : from->get();
      messages_[i].msg_hdr.msg_namelen = from == nullptr ? 0 : sizeof(sockaddr_storage);
    }
    const int count = ::recvmmsg(fd, messages_.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (from != nullptr && count > 0) from->size = messages_[0].msg_hdr.msg_namelen;
    return count < 0 ? 0 : static_cast<std::size_t>(count);
  }

  Head head(std::size_t index) const {
    Head head{};
    ::memcpy(&head, bytes_[index].data(), sizeof head);
    return head;
  }

  // Data messages number `first`...; how many went out.
  std::size_t send(int fd, sys::SocketAddress* to, std::uint32_t first, std::size_t count, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) {
      const Head head{.kind = Head::Kind::data, .number = first + static_cast<std::uint32_t>(i), .count = 0, .size = 0};
      ::memcpy(bytes_[i].data(), &head, sizeof head);
      parts_[i].iov_len = size;
      messages_[i].msg_hdr.msg_name = to == nullptr ? nullptr : to->get();
      messages_[i].msg_hdr.msg_namelen = to == nullptr ? 0 : to->size;
    }
    const int sent = ::sendmmsg(fd, messages_.data(), static_cast<unsigned>(count), MSG_DONTWAIT);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }

 private:
  std::array<std::array<std::uint8_t, kLongest>, kBatch> bytes_{};
  std::array<iovec, kBatch> parts_{};
  std::array<mmsghdr, kBatch> messages_{};
};

void send_head(int fd, sys::SocketAddress* to, const Head& head) {
  ::sendto(fd, &head, sizeof head, MSG_DONTWAIT, to == nullptr ? nullptr : to->get(), to == nullptr ? 0 : to->size);
}

bool readable(int fd, int timeout_ms) {
  pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&ready, 1, timeout_ms) == 1;
}

// What one side has sent and the other has seen of it.
struct Window {
  std::uint32_t sent = 0;
  std::uint32_t seen = 0;
  std::uint32_t size = 0;

  std::size_t room() const { return std::min<std::size_t>(kBatch, size - std::min(size, sent - seen)); }
  void acknowledge(std::uint32_t highest) {
    if (static_cast<std::int32_t>(highest - seen) > 0) seen = highest;
  }
  void give_up() { seen = sent; }
};

// What one side has received.
struct Arrived {
  std::uint32_t highest = 0;
  std::uint32_t count = 0;
  std::uint32_t unacknowledged = 0;

  void take(const Head& head) {
    highest = std::max(highest, head.number);
    ++count;
    ++unacknowledged;
  }
};

// One client at a time: who sends from another address is a new one.
class Server {
 public:
  explicit Server(const sys::SocketAddress& address) : fd_(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (!fd_.valid() || ::bind(fd_.get(), address.get(), address.size) != 0) die_errno("cannot bind");
  }

  void run() {
    std::puts("ready");
    std::fflush(stdout);
    std::array<pollfd, 2> both{pollfd{.fd = fd_.get(), .events = POLLIN, .revents = 0},
                               pollfd{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
    while (::poll(both.data(), both.size(), -1) > 0 && both[1].revents == 0) {
      sys::SocketAddress from;
      const std::size_t count = batch_.receive(fd_.get(), &from);
      if (count == 0) continue;
      if (from.endpoint() != client_.endpoint()) begin(from);
      for (std::size_t i = 0; i < count; ++i) take(batch_.head(i));
      if (arrived_.unacknowledged > 0) acknowledge();
      send_more();
    }
  }

 private:
  void begin(const sys::SocketAddress& client) {
    client_ = client;
    arrived_ = {};
    window_ = {};
  }

  void take(const Head& head) {
    if (head.kind == Head::Kind::data) {
      arrived_.take(head);
      if (arrived_.unacknowledged >= kAckEvery) acknowledge();
    } else if (head.kind == Head::Kind::want) {
      window_.size = head.count;
      length_ = std::min<std::size_t>(head.size, kLongest);
      if (head.number == window_.seen) window_.give_up();
      window_.acknowledge(head.number);
    }
  }

  void acknowledge() {
    send_head(fd_.get(), &client_,
              {.kind = Head::Kind::ack, .number = arrived_.highest, .count = arrived_.count, .size = 0});
    arrived_.unacknowledged = 0;
  }

  void send_more() {
    for (std::size_t room = window_.room(); room > 0; room = window_.room()) {
      const std::size_t sent = batch_.send(fd_.get(), &client_, window_.sent + 1, room, length_);
      if (sent == 0) return;
      window_.sent += static_cast<std::uint32_t>(sent);
    }
  }

  sys::OwnedFd fd_;
  sys::SocketAddress client_;
  Arrived arrived_;
  Window window_;
  std::size_t length_ = 0;
  Batch batch_;
};

class Client {
 public:
  Client(const sys::SocketAddress& server, std::size_t size, std::uint32_t window)
      : fd_(::socket(server.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        size_(std::clamp(size, sizeof(Head), kLongest)),
        window_{.sent = 0, .seen = 0, .size = window} {
    if (!fd_.valid() || ::connect(fd_.get(), server.get(), server.size) != 0) die_errno("cannot connect");
  }

  // Datagrams that arrived.
  std::uint64_t up(std::uint64_t end) {
    while (now_ns() < end) {
      if (window_.size == 0) {
        for (std::uint64_t i = 0; i < kOffered; i += kBatch) send(kBatch);
        continue;
      }
      if (const std::size_t room = window_.room(); room > 0) send(room);
      if (window_.room() == 0 && !readable(fd_.get(), kPatienceMs)) window_.give_up();
      read_acknowledgements();
    }
    return arrived_;
  }

  std::uint64_t down(std::uint64_t end) {
    Arrived arrived;
    ask(arrived);
    while (now_ns() < end) {
      if (!readable(fd_.get(), kPatienceMs)) {
        ask(arrived);  // the number says that nothing came since
        continue;
      }
      const std::size_t count = batch_.receive(fd_.get(), nullptr);
      for (std::size_t i = 0; i < count; ++i) {
        arrived.take(batch_.head(i));
        if (arrived.unacknowledged >= kAckEvery) ask(arrived);
      }
    }
    return arrived.count;
  }

 private:
  void send(std::size_t count) {
    window_.sent += static_cast<std::uint32_t>(batch_.send(fd_.get(), nullptr, window_.sent + 1, count, size_));
  }

  void read_acknowledgements() {
    const std::size_t count = batch_.receive(fd_.get(), nullptr);
    for (std::size_t i = 0; i < count; ++i) {
      const Head head = batch_.head(i);
      window_.acknowledge(head.number);
      arrived_ = std::max<std::uint64_t>(arrived_, head.count);
    }
  }

  void ask(Arrived& arrived) {
    send_head(fd_.get(), nullptr,
              {.kind = Head::Kind::want,
               .number = arrived.highest,
               .count = window_.size,
               .size = static_cast<std::uint32_t>(size_)});
    arrived.unacknowledged = 0;
  }

  sys::OwnedFd fd_;
  std::size_t size_;
  Window window_;
  std::uint64_t arrived_ = 0;
  Batch batch_;
};

void run_client(const Arguments& arguments) {
  Client client(address_of(arguments.words[0]), arguments.number("size", 1400),
                static_cast<std::uint32_t>(arguments.number("window", 64)));
  std::puts("started");
  std::fflush(stdout);
  const std::uint64_t began = now_ns();
  const std::uint64_t end = began + arguments.number("ms", 500) * 1'000'000;
  const std::uint64_t arrived = arguments.text("direction", "up") == "up" ? client.up(end) : client.down(end);
  JsonWriter json;
  json.begin_object().field("elapsed_ns", now_ns() - began).field("arrived", arrived).field("cpu_us", own_cpu_us());
  print(json.end_object());
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  if (arguments.words.size() == 2 && arguments.words[0] == "serve") {
    Server(address_of(arguments.words[1])).run();
  } else if (arguments.words.size() == 1) {
    run_client(arguments);
  } else {
    die("usage: udp_stream [serve] ADDRESS:PORT [direction=up|down] [size=N] [ms=N] [window=N]");
  }
}
