// bare_relay [report=FILE] -- COMMAND...
//
// The control for the data plane: runs a command in a network namespace whose TCP connects end at a listener here;
// accepts, connects to where the connect was meant to go, relays. No policy, no record, no detour of the first packet,
// no held bytes, no separate process. It shows what the kernel's share of weir's cost is, so it is as quick as we know
// how: one thread, edge-triggered, recv/send until a direction fills the buffer twice, splice from there on.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>
#include <vector>

#include "capture.h"
#include "inside.h"
#include "tool.h"

namespace weir::bench {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;
constexpr int kPipe = 1024 * 1024;
constexpr int kFullReadsBeforeSplice = 2;
constexpr std::size_t kFlowsPerLoop = 64;  // accepted in a row

struct Direction {
  std::vector<char> pending;  // read and not yet written
  sys::OwnedFd pipe_in;
  sys::OwnedFd pipe_out;
  std::size_t in_pipe = 0;
  int full_reads = 0;
  bool ended = false;
};

struct Flow {
  sys::OwnedFd guest;
  sys::OwnedFd upstream;
  Direction up;
  Direction down;
  bool connected = false;
};

enum class Moved : std::uint8_t { waiting, ended, broken };

class Relay {
 public:
  Relay(sys::OwnedFd listener, const sys::ChildProcess& child) : listener_(std::move(listener)), buffer_(kBuffer) {
    poller_.add(listener_.get(), EPOLLIN, kListener);
    poller_.add(child.pidfd(), EPOLLIN, kChild);
  }

  // Until the child ends.
  void run() {
    for (;;) {
      for (const auto& event : poller_.wait(-1)) {
        if (event.id == kChild) return;
        if (event.id == kListener) {
          accept_some();
        } else if (auto& flow = flows_[event.id - kFirstFlow]; flow && !step(*flow, event.events)) {
          dead_.push_back(event.id - kFirstFlow);
          flow.reset();
        }
      }
      // Only now: an event of the same batch may still name a dead flow.
      free_.insert(free_.end(), dead_.begin(), dead_.end());
      dead_.clear();
    }
  }

  std::uint64_t accepted() const { return accepted_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  static constexpr std::uint64_t kListener = 0;
  static constexpr std::uint64_t kChild = 1;
  static constexpr std::uint64_t kFirstFlow = 2;

  void accept_some() {
    for (std::size_t i = 0; i < kFlowsPerLoop; ++i) {
      sys::OwnedFd guest(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!guest.valid()) return;
      sys::SocketAddress target;
      ::getsockname(guest.get(), target.get(), &target.size);
      auto flow = std::make_unique<Flow>();
      flow->upstream = tcp_socket(target.family());
      flow->guest = std::move(guest);
      if (::connect(flow->upstream.get(), target.get(), target.size) != 0 && errno != EINPROGRESS) continue;
      ++accepted_;
      watch(std::move(flow));
    }
  }

  void watch(std::unique_ptr<Flow> flow) {
    if (free_.empty()) {
      free_.push_back(flows_.size());
      flows_.emplace_back();
    }
    const std::size_t index = free_.back();
    free_.pop_back();
    constexpr std::uint32_t kAll = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    poller_.add(flow->guest.get(), kAll, index + kFirstFlow);
    poller_.add(flow->upstream.get(), kAll, index + kFirstFlow);
    flows_[index] = std::move(flow);
  }

  // False when the flow is over.
  bool step(Flow& flow, std::uint32_t events) {
    if ((events & EPOLLERR) != 0) return false;
    if (!flow.connected && !finish_connect(flow)) return true;
    const Moved up = move(flow.guest.get(), flow.upstream.get(), flow.up);
    const Moved down = move(flow.upstream.get(), flow.guest.get(), flow.down);
    if (up == Moved::broken || down == Moved::broken) return false;
    return up != Moved::ended || down != Moved::ended;
  }

  static bool finish_connect(Flow& flow) {
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(flow.upstream.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    flow.connected = info.tcpi_state != TCP_SYN_SENT;
    return flow.connected;
  }

  Moved move(int from, int to, Direction& way) {
    if (way.ended) return Moved::ended;
    for (;;) {
      if (!way.pending.empty() && !write_pending(to, way)) return errno == EAGAIN ? Moved::waiting : Moved::broken;
      const bool bulk = way.full_reads >= kFullReadsBeforeSplice && open_pipe(way);
      const ssize_t size = bulk ? splice_once(from, to, way) : copy_once(from, to, way);
      if (size > 0) continue;
      if (size < 0) return errno == EAGAIN ? Moved::waiting : Moved::broken;
      way.ended = true;
      ::shutdown(to, SHUT_WR);
      return Moved::ended;
    }
  }

  static bool write_pending(int to, Direction& way) {
    const ssize_t sent = ::send(to, way.pending.data(), way.pending.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return false;
    way.pending.erase(way.pending.begin(), way.pending.begin() + sent);
    errno = EAGAIN;
    return way.pending.empty();
  }

  // As recv(): bytes read, 0 at the end, -1.
  ssize_t copy_once(int from, int to, Direction& way) {
    const ssize_t size = ::recv(from, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (size <= 0) return size;
    bytes_ += static_cast<std::uint64_t>(size);
    way.full_reads = size == static_cast<ssize_t>(buffer_.size()) ? way.full_reads + 1 : 0;
    ssize_t sent = ::send(to, buffer_.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) return -1;
    sent = std::max<ssize_t>(sent, 0);
    way.pending.assign(buffer_.begin() + sent, buffer_.begin() + size);
    return size;
  }

  static bool open_pipe(Direction& way) {
    if (way.pipe_in.valid()) return true;
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return false;
    way.pipe_out = sys::OwnedFd(ends[0]);
    way.pipe_in = sys::OwnedFd(ends[1]);
    ::fcntl(ends[1], F_SETPIPE_SZ, kPipe);
    return true;
  }

  ssize_t splice_once(int from, int to, Direction& way) {
    constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    if (way.in_pipe == 0) {
      const ssize_t in = ::splice(from, nullptr, way.pipe_in.get(), nullptr, kPipe, kFlags);
      if (in <= 0) return in;
      way.in_pipe = static_cast<std::size_t>(in);
      bytes_ += way.in_pipe;
    }
    const ssize_t out = ::splice(way.pipe_out.get(), nullptr, to, nullptr, way.in_pipe, kFlags);
    if (out > 0) way.in_pipe -= static_cast<std::size_t>(out);
    return out;
  }

  sys::OwnedFd listener_;
  Poller poller_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<Flow>> flows_;
  std::vector<std::size_t> free_;
  std::vector<std::size_t> dead_;
  std::uint64_t accepted_ = 0;
  std::uint64_t bytes_ = 0;
};

int run(const Arguments& arguments) {
  Inside inside = start_inside(arguments, set_up_plain_capture);
  Relay relay(std::move(inside.fd), inside.child);
  relay.run();
  const int code = exit_code(inside.child);
  const std::string report = arguments.text("report", "");
  if (!report.empty()) {
    JsonWriter json;
    json.begin_object().field("accepted", relay.accepted()).field("bytes", relay.bytes());
    std::ofstream(report) << json.field("cpu_us", own_cpu_us()).end_object().text() << "\n";
  }
  return code;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  if (arguments.command.empty()) die("usage: bare_relay [report=FILE] -- COMMAND...");
  ::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  return run(arguments);
}
