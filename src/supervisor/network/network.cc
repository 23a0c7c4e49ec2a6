#include "supervisor/network/network.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "gateway/gateway.h"
#include "sys/errno.h"

namespace weir::supervisor {

namespace {

// In full packets. A gateway that asks this much without reading the answers is broken: two answers for each flow it
// may have.
constexpr std::size_t kMaxUnsent = 2 * dial::Admission::kMaxFlows / sys::Channel::kMaxPassed;
constexpr int kPacketsPerRound = 16;
constexpr int kDyingMs = 100;
// When the user's processes together have too many descriptors on the way: nothing tells when there are fewer.
constexpr std::uint64_t kRetryMs = 10;
// What a gateway may take to let go of what it must not keep.
constexpr std::uint64_t kTakeMs = 5000;
// What a gateway may take to send what the guest left behind.
constexpr std::uint64_t kLastWordsMs = 1500;

bool is_gone(const Error& error) {
  return error.code() == EPIPE || error.code() == ECONNRESET;
}

// Two descriptors a flow in the gateway, which may have as many as that takes and no more.
std::uint64_t flows_possible() {
  const rlim_t others = gateway::descriptors_besides_flows();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max <= others + 2) return 1;
  return std::min<std::uint64_t>((limit.rlim_max - others) / 2, dial::Admission::kMaxFlows);
}

// A connection loses its peer, which is reset. A socket of datagrams keeps it: without one it could be given another.
void sever(int socket) {
  const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
  int type = 0;
  socklen_t size = sizeof type;
  const bool stream = ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
  if (!stream || ::connect(socket, &nowhere, sizeof nowhere) != 0) ::shutdown(socket, SHUT_RDWR);
}

std::vector<net::Cidr> own_subnets(const sandbox::CaptureAddresses& addresses) {
  return {net::Cidr::of(addresses.guest4, 16), net::Cidr::of(addresses.guest6, 48)};
}

// Whose socket rides along with it; 0: of none.
std::uint64_t flow_of(const control::ToGateway& message) {
  if (const auto* connected = std::get_if<control::ConnectAnswer>(&message)) return connected->flow;
  if (const auto* client = std::get_if<control::InboundClient>(&message)) return client->flow;
  if (const auto* guest = std::get_if<control::InboundGuest>(&message)) return guest->flow;
  return 0;
}

}  // namespace

Network::Network(sys::Reactor& reactor, sandbox::Capture capture, const sandbox::CaptureAddresses& addresses,
                 Policy policy, OnFailure on_failure)
    : reactor_(reactor),
      capture_(std::move(capture)),
      addresses_(addresses),
      policy_(std::move(policy)),
      on_failure_(std::move(on_failure)),
      first_packet_handler_([this](std::uint32_t) { first_packet(); }),
      gateway_handler_([this](std::uint32_t events) {
        // What can be written now is written at the end of the round.
        if ((events & ~std::uint32_t{EPOLLOUT}) != 0 && !suspended_) on_gateway_readable();
      }),
      death_handler_([this](std::uint32_t) {
        if (!suspended_) read_messages();
        lose_gateway();
      }) {}

Result<Network::Policy> Network::Policy::of(std::shared_ptr<const sys::OwnedFd> file) {
  WEIR_TRY(sys::Mapping mapping, sys::Mapping::of(*file));
  WEIR_TRY(policy::Image image, policy::Image::open(mapping.bytes()));
  return Policy{.file = std::move(file), .mapping = std::move(mapping), .image = std::move(image)};
}

Network::~Network() {
  reactor_.forget_round(round_);
  stop();
  if (!gateway_ && capture_.tun.valid()) {
    reactor_.forget(capture_.tun.get());
    reactor_.forget(capture_.listener.get());
  }
}

Result<std::unique_ptr<Network>> Network::create(sys::Reactor& reactor, sandbox::Capture capture,
                                                 const sandbox::CaptureAddresses& addresses,
                                                 std::shared_ptr<const sys::OwnedFd> image,
                                                 std::vector<net::Endpoint> resolvers,
                                                 std::vector<dial::EgressRoute> egress, dial::Recorder& log,
                                                 OnFailure on_failure) {
  WEIR_TRY(Policy policy, Policy::of(std::move(image)));
  WEIR_TRY(dial::LiveFacts facts, dial::LiveFacts::open(own_subnets(addresses)));
  // Nothing may go around an upstream proxy, names least of all.
  if (!egress.empty()) resolvers.clear();
  std::unique_ptr<Network> network(
      new Network(reactor, std::move(capture), addresses, std::move(policy), std::move(on_failure)));
  Network& self = *network;
  self.admission_ = std::make_unique<dial::Admission>(
      reactor, self.policy_.image, std::move(facts), log,
      dial::Admission::Settings{.resolvers = std::move(resolvers),
                                .host4 = addresses.host4,
                                .host6 = addresses.host6,
                                .egress = std::move(egress),
                                .flows_possible = flows_possible()},
      [&self](const control::ToGateway& message, sys::OwnedFd passed) { self.send(message, std::move(passed)); });
  WEIR_CHECK_OK(self.wait_for_first_packet());
  // What a round asked for is recorded with one write, then dialled and answered with one packet.
  self.round_ = reactor.after_each_round([&self] {
    self.admission_->settle();
    self.flush();
  });
  return network;
}

void Network::narrow(Policy next, std::uint64_t generation, OnTaken on_taken) {
  const std::size_t cut = admission_->narrow(next.image);
  std::swap(policy_, next);  // the old one goes when nobody looks into it any more
  // A network that has failed confirms nothing: its gateway may still hold connections, and the sandbox ends.
  if (stopping_) return;
  if (!gateway_) return on_taken(cut);
  sys::OwnedFd copy(::fcntl(policy_.file->get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail("cannot hand over the narrower policy: " + sys::errno_text(errno));
  send(control::Policy{.generation = generation,
                       .size = policy_.mapping.bytes().size(),
                       .idle_timeout_ms = admission_->limit(policy::Limit::idle_timeout_ms),
                       .udp_idle_timeout_ms = admission_->limit(policy::Limit::udp_idle_timeout_ms),
                       .datagram_clients = admission_->datagram_clients()},
       std::move(copy));
  const auto deadline = suspended_ ? 0 : deadline_of_change();
  changes_.push_back({.generation = generation, .cut = cut, .on_taken = std::move(on_taken), .deadline = deadline});
  flush();
}

sys::Reactor::TimerId Network::deadline_of_change() {
  return reactor_.at(sys::monotonic_ms() + kTakeMs, [this] { fail("the gateway did not take the narrower policy"); });
}

Result<> Network::suspend() {
  if (gateway_) WEIR_CHECK_OK(gateway_->stop());
  suspended_ = true;
  admission_->suspend();
  if (inbound_) inbound_->suspend();
  for (Change& change : changes_) reactor_.cancel(std::exchange(change.deadline, 0));
  if (gateway_) {
    gateway_is_behind_ = false;
    // Also where it has shut its channel, of which epoll tells whatever is asked for.
    reactor_.forget(gateway_->channel().fd());
  } else if (capture_.tun.valid()) {
    reactor_.forget(capture_.tun.get());
    reactor_.forget(capture_.listener.get());
  }
  return {};
}

// What it is to know it finds when it looks.
void Network::go_on() {
  if (!std::exchange(suspended_, false) || stopping_) return;
  for (Change& change : changes_) change.deadline = deadline_of_change();
  admission_->go_on();
  if (gateway_) {
    if (auto watched = reactor_.watch(gateway_->channel().fd(), EPOLLIN, gateway_handler_); !watched)
      return fail(watched.error().what());
    flush();
    if (gateway_) gateway_->go_on();
  } else if (auto waits = wait_for_first_packet(); !waits) {
    fail(waits.error().what());
  }
  if (inbound_) inbound_->go_on();
}

// Everything that the gateway had to say before, it has said: what it was told to cut and has not is a lie.
void Network::taken(std::uint64_t generation) {
  if (changes_.empty() || changes_.front().generation != generation) {
    return fail("the gateway took a policy that nobody gave it");
  }
  const Change change = std::move(changes_.front());
  changes_.pop_front();
  reactor_.cancel(change.deadline);
  if (changes_.empty() && admission_->cuts_open() > 0) return fail("the gateway kept connections that were cut");
  change.on_taken(change.cut);
}

Result<> Network::publish(std::vector<PublishedPort> ports, sandbox::GuestSockets& guest) {
  inbound_ = std::make_unique<Inbound>(reactor_, *admission_, guest,
                                       [this](const control::ToGateway& message, sys::OwnedFd passed) {
                                         if (!stopping_) first_packet();
                                         send(message, std::move(passed));
                                       });
  return inbound_->start(std::move(ports));
}

Result<> Network::wait_for_first_packet() {
  if (!capture_.tun.valid()) return {};
  WEIR_CHECK_OK(reactor_.watch(capture_.tun.get(), EPOLLIN, first_packet_handler_));
  return reactor_.watch(capture_.listener.get(), EPOLLIN, first_packet_handler_);
}

void Network::first_packet() {
  if (gateway_ || suspended_) return;  // both descriptors may be ready in one round
  reactor_.forget(capture_.tun.get());
  reactor_.forget(capture_.listener.get());
  if (auto started = start_gateway(); !started) fail(started.error().what());
}

Result<> Network::start_gateway() {
  WEIR_TRY(GatewayProcess process, GatewayProcess::start(capture_, *policy_.file, admission_->max_flows()));
  gateway_.emplace(std::move(process));
  WEIR_CHECK_OK(reactor_.watch(gateway_->channel().fd(), EPOLLIN, gateway_handler_));
  WEIR_CHECK_OK(reactor_.watch(gateway_->pidfd(), EPOLLIN, death_handler_));
  using control::Captured;
  WEIR_TRY(const bool upstream_ipv6, admission_->ipv6_upstream());
  send(control::Start{.captured = capture_.tun.valid() ? Captured::yes : Captured::no,
                      .guest4 = addresses_.guest4,
                      .gateway4 = addresses_.gateway4,
                      .guest6 = addresses_.guest6,
                      .gateway6 = addresses_.gateway6,
                      .host4 = addresses_.host4,
                      .host6 = addresses_.host6,
                      .resolvers = static_cast<std::uint8_t>(admission_->resolver_count()),
                      .upstream_ipv6 = upstream_ipv6,
                      .names = admission_->has_egress() ? control::Names::stand_ins : control::Names::resolved,
                      .idle_timeout_ms = admission_->limit(policy::Limit::idle_timeout_ms),
                      .udp_idle_timeout_ms = admission_->limit(policy::Limit::udp_idle_timeout_ms),
                      .datagram_clients = admission_->datagram_clients()},
       {});
  end_packet();  // by itself: the gateway reads it before it begins to serve
  return {};
}

void Network::send(const control::ToGateway& message, sys::OwnedFd passed) {
  if (!gateway_ || stopping_) return;
  if (next_.messages.full() || next_.passed.size() == sys::Channel::kMaxPassed) end_packet();
  next_.messages.add(message);
  if (const auto* cut = std::get_if<control::Cut>(&message)) disconnect_queued(cut->flow);
  if (passed.valid()) next_.passed.push_back({std::move(passed), flow_of(message)});
}

// A socket that has not left yet arrives connected to nothing: its other end is reset here.
void Network::disconnect_queued(std::uint64_t flow) {
  const auto disconnect = [flow](const Packet& packet) {
    for (const Passed& each : packet.passed) {
      if (each.flow == flow) sever(each.fd.get());
    }
  };
  std::ranges::for_each(unsent_, disconnect);
  disconnect(next_);
}

void Network::end_packet() {
  if (next_.messages.empty()) return;
  if (unsent_.size() >= kMaxUnsent) return fail("the gateway does not read its answers");
  unsent_.push_back(std::exchange(next_, {}));
}

// A gateway that is behind is written to again when its channel is writable.
void Network::flush() {
  while (gateway_ && !stopping_ && !suspended_) {
    if (unsent_.empty()) end_packet();
    if (unsent_.empty()) return;
    const auto sent = send_packet(unsent_.front());
    const bool behind = !sent && sent.error().code() == EAGAIN;
    if (behind != gateway_is_behind_) {
      gateway_is_behind_ = behind;
      reactor_.change(gateway_->channel().fd(), behind ? EPOLLIN | EPOLLOUT : EPOLLIN, gateway_handler_);
    }
    if (behind) return;
    if (!sent && sent.error().code() == ETOOMANYREFS) return retry_later();
    // A dead peer is reported by its pidfd.
    if (!sent && !is_gone(sent.error())) return fail("cannot answer the gateway: " + sent.error().what());
    unsent_.pop_front();
  }
}

// Every round ends with flush(): all it takes is a round.
void Network::retry_later() {
  if (retry_ != 0) return;
  retry_ = reactor_.at(reactor_.now_ms() + kRetryMs, [this] { retry_ = 0; });
}

Result<> Network::send_packet(const Packet& packet) {
  std::array<int, sys::Channel::kMaxPassed> passed{};
  for (std::size_t i = 0; i < packet.passed.size(); ++i) passed[i] = packet.passed[i].fd.get();
  return gateway_->channel().send(packet.messages.bytes(), std::span(passed).first(packet.passed.size()));
}

void Network::on_gateway_readable() {
  if (!read_messages()) lose_gateway();
}

// A process that dies closes its channel a moment before it has ended.
void Network::lose_gateway() {
  if (on_heard_out_) return heard_out();
  if (!gateway_ || stopping_) return;
  pollfd ended{.fd = gateway_->pidfd(), .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, kDyingMs) == 1) return fail("the gateway died: " + gateway_->end());
  fail("the gateway broke the protocol");
}

// False when there is nothing more to come.
bool Network::read_messages() {
  std::array<std::uint8_t, control::kMaxPacket> buffer;
  for (int i = 0; gateway_ && i < kPacketsPerRound; ++i) {
    auto received = gateway_->channel().receive(buffer);
    if (!received || received->state == sys::Channel::Received::State::closed) return false;
    if (received->state == sys::Channel::Received::State::nothing) return true;
    for (Bytes packet = received->message; !packet.empty();) {
      const auto message = control::next_message<control::FromGateway>(packet);
      if (!message) return false;
      admission_->handle(*message);
      // What it was told to take for a flow that it had ended already is nobody's.
      const auto* closed = std::get_if<control::FlowClosed>(&*message);
      if (closed != nullptr && closed->flow >= dial::InboundFlows::kFirst)
        send(control::InboundGone{.flow = closed->flow}, {});
      if (const auto* policy = std::get_if<control::PolicyTaken>(&*message)) taken(policy->generation);
      const auto* datagram = std::get_if<control::InboundTaken>(&*message);
      if (datagram != nullptr && inbound_) inbound_->on(*datagram);
    }
  }
  return true;
}

void Network::fail(std::string why) {
  if (stopping_) return;
  stopping_ = true;
  on_failure_(std::move(why));
}

// "No more from me": the gateway finishes what the guest sent, reports its flows and exits.
void Network::ask_for_last_words() {
  stopping_ = true;
  reactor_.cancel(std::exchange(retry_, 0));
  for (const Change& change : std::exchange(changes_, {})) reactor_.cancel(change.deadline);
  if (inbound_) inbound_->stop();
  admission_->refuse_new();
  if (!gateway_) return;
  if (std::exchange(suspended_, false)) gateway_->go_on();
  was_heard_ = ::shutdown(gateway_->channel().fd(), SHUT_WR) != 0;
}

void Network::hear_out(std::function<void()> done) {
  on_heard_out_ = std::move(done);
  ask_for_last_words();
  if (!gateway_ || was_heard_) return heard_out();
  reactor_.change(gateway_->channel().fd(), EPOLLIN, gateway_handler_);
  last_words_ = reactor_.at(sys::monotonic_ms() + kLastWordsMs, [this] {
    was_heard_ = true;
    heard_out();
  });
}

// What the gateway has sent by now, and nobody has read, stop() reads.
void Network::heard_out() {
  reactor_.cancel(last_words_);
  if (gateway_) reactor_.forget(gateway_->channel().fd());
  if (gateway_) reactor_.forget(gateway_->pidfd());
  last_words_ = reactor_.at(sys::monotonic_ms(), std::exchange(on_heard_out_, nullptr));
}

void Network::stop() {
  reactor_.cancel(std::exchange(last_words_, 0));
  if (!was_heard_) ask_for_last_words();
  if (!gateway_) return admission_->end();
  reactor_.forget(gateway_->channel().fd());
  reactor_.forget(gateway_->pidfd());
  if (!was_heard_) read_last_messages();
  gateway_.reset();
  admission_->end();
}

void Network::read_last_messages() {
  const std::uint64_t deadline = sys::monotonic_ms() + kLastWordsMs;
  while (read_messages()) {
    admission_->settle();
    const std::uint64_t now = sys::monotonic_ms();
    if (now >= deadline) return;
    pollfd readable{.fd = gateway_->channel().fd(), .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, static_cast<int>(deadline - now)) <= 0) return;
  }
}

}  // namespace weir::supervisor
