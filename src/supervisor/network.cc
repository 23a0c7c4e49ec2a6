#include "supervisor/network.h"

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
// What a gateway may take to send what the guest left behind.
constexpr std::uint64_t kLastWordsMs = 1500;

bool is_gone(const Error& error) {
  return error.code() == EPIPE || error.code() == ECONNRESET;
}

// Two descriptors a flow in the gateway, whose soft limit is raised to the hard one.
std::uint64_t flows_possible() {
  const rlim_t others = gateway::descriptors_besides_flows();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max <= others + 2) return 1;
  return std::min<std::uint64_t>((limit.rlim_max - others) / 2, dial::Admission::kMaxFlows);
}

std::vector<net::Cidr> own_subnets(const sandbox::CaptureAddresses& addresses) {
  return {net::Cidr::of(addresses.guest4, 16), net::Cidr::of(addresses.guest6, 48)};
}

}  // namespace

Network::Network(sys::Reactor& reactor, sandbox::Capture capture, const sandbox::CaptureAddresses& addresses,
                 std::shared_ptr<const sys::OwnedFd> image, sys::Mapping mapping, OnFailure on_failure)
    : reactor_(reactor),
      capture_(std::move(capture)),
      addresses_(addresses),
      image_file_(std::move(image)),
      image_mapping_(std::move(mapping)),
      on_failure_(std::move(on_failure)),
      first_packet_handler_([this](std::uint32_t) { first_packet(); }),
      gateway_handler_([this](std::uint32_t events) {
        // What can be written now is written at the end of the round.
        if ((events & ~std::uint32_t{EPOLLOUT}) != 0) on_gateway_readable();
      }),
      death_handler_([this](std::uint32_t) {
        read_messages();
        lose_gateway();
      }) {}

Network::~Network() {
  stop();
}

Result<std::unique_ptr<Network>> Network::create(sys::Reactor& reactor, sandbox::Capture capture,
                                                 const sandbox::CaptureAddresses& addresses,
                                                 std::shared_ptr<const sys::OwnedFd> image,
                                                 std::vector<net::Endpoint> resolvers, dial::Recorder& log,
                                                 OnFailure on_failure) {
  WEIR_TRY(sys::Mapping mapping, sys::Mapping::of(*image));
  WEIR_TRY(const policy::Image policy, policy::Image::open(mapping.bytes()));
  WEIR_TRY(dial::LiveFacts facts, dial::LiveFacts::open(own_subnets(addresses)));
  std::unique_ptr<Network> network(
      new Network(reactor, std::move(capture), addresses, std::move(image), std::move(mapping), std::move(on_failure)));
  Network& self = *network;
  self.admission_ = std::make_unique<dial::Admission>(
      reactor, policy, std::move(facts), log,
      dial::Admission::Settings{.resolvers = std::move(resolvers),
                                .host4 = addresses.host4,
                                .host6 = addresses.host6,
                                .flows_possible = flows_possible()},
      [&self](const control::ToGateway& message, sys::OwnedFd passed) { self.send(message, std::move(passed)); });
  WEIR_CHECK_OK(self.wait_for_first_packet());
  // What a round asked for is recorded with one write, then dialled and answered with one packet.
  reactor.after_each_round([&self] {
    self.admission_->settle();
    self.flush();
  });
  return network;
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
  if (gateway_) return;  // both descriptors may be ready in one round
  reactor_.forget(capture_.tun.get());
  reactor_.forget(capture_.listener.get());
  if (auto started = start_gateway(); !started) fail(started.error().what());
}

Result<> Network::start_gateway() {
  WEIR_TRY(GatewayProcess process, GatewayProcess::start(capture_, *image_file_));
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
  if (passed.valid()) next_.passed.push_back(std::move(passed));
}

void Network::end_packet() {
  if (next_.messages.empty()) return;
  if (unsent_.size() >= kMaxUnsent) return fail("the gateway does not read its answers");
  unsent_.push_back(std::exchange(next_, {}));
}

// A gateway that is behind is written to again when its channel is writable.
void Network::flush() {
  while (gateway_ && !stopping_) {
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
  for (std::size_t i = 0; i < packet.passed.size(); ++i) passed[i] = packet.passed[i].get();
  return gateway_->channel().send(packet.messages.bytes(), std::span(passed).first(packet.passed.size()));
}

void Network::on_gateway_readable() {
  if (!read_messages()) lose_gateway();
}

// A process that dies closes its channel a moment before it has ended.
void Network::lose_gateway() {
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
      const auto* taken = std::get_if<control::InboundTaken>(&*message);
      if (taken == nullptr) {
        admission_->handle(*message);
      } else if (inbound_) {
        inbound_->on(*taken);
      }
    }
  }
  return true;
}

void Network::fail(std::string why) {
  if (stopping_) return;
  stopping_ = true;
  on_failure_(std::move(why));
}

void Network::stop() {
  stopping_ = true;
  reactor_.cancel(std::exchange(retry_, 0));
  if (inbound_) inbound_->stop();
  if (!gateway_) return admission_->end();
  admission_->refuse_new();
  reactor_.forget(gateway_->channel().fd());
  reactor_.forget(gateway_->pidfd());
  // "No more from me": the gateway finishes what the guest sent, reports its flows and exits.
  if (::shutdown(gateway_->channel().fd(), SHUT_WR) == 0) read_last_messages();
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
