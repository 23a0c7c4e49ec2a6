#include "gateway/gateway.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "gateway/confine.h"
#include "gateway/datagram/datagram_table.h"
#include "gateway/inbound/inbound_table.h"
#include "gateway/link.h"
#include "gateway/meter.h"
#include "gateway/proxy/proxies.h"
#include "gateway/refuser.h"
#include "gateway/resolver/resolver.h"
#include "gateway/router.h"
#include "gateway/tcp/flow_table.h"
#include "gateway/tcp/pipe_pool.h"
#include "gateway/tun.h"
#include "policy/compiled/image.h"
#include "sys/errno.h"
#include "sys/memory_file.h"

namespace weir::gateway {

namespace {

// What the guest left behind may take this long to go up after its last process has ended.
constexpr std::uint64_t kDrainMs = 1000;

Result<control::Start> read_start(sys::Channel& channel) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  pollfd readable{.fd = channel.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, -1) < 0) return sys::errno_error("cannot wait for the supervisor");
  WEIR_TRY(const auto received, channel.receive(buffer));
  Bytes packet = received.message;
  const auto message = control::next_message<control::ToGateway>(packet);
  if (!message || !std::holds_alternative<control::Start>(*message))
    return fail("the supervisor did not say what to do");
  return std::get<control::Start>(*message);
}

// What counts at published ports: their clients are no destinations that the sandbox could choose.
policy::Limits of_published(policy::Limits limits) {
  limits[policy::Limit::egress_bytes] = policy::Limits::kUnlimited;
  return limits;
}

Meter::Report report_to(Link& link, control::LimitReached::Of of) {
  return [&link, of](policy::Limit limit, std::uint64_t flow) {
    link.send(control::LimitReached{.limit = static_cast<std::uint8_t>(limit), .of = of, .flow = flow});
  };
}

// Of a sandbox whose network leads nowhere: published ports and nothing else.
class InboundGateway {
 public:
  InboundGateway(sys::Reactor& reactor, sys::Channel channel, const policy::Limits& limits, const control::Start& world)
      : reactor_(reactor),
        link_(reactor, std::move(channel)),
        meter_(of_published(limits), report_to(link_, control::LimitReached::Of::published)),
        relays_{.reactor = reactor, .pipes = {}},
        inbound_(reactor, link_, relays_, meter_, world) {}

  Result<> serve() {
    WEIR_CHECK_OK(link_.start(
        [this](const control::ToGateway& message, sys::OwnedFd passed) {
          if (inbound_.take(message, passed)) return;
          if (const auto* lost = std::get_if<control::Cut>(&message)) inbound_.cut(lost->flow);
          if (const auto* policy = std::get_if<control::Policy>(&message)) take_policy(*policy, passed);
        },
        [this] {
          reactor_.at(reactor_.now_ms() + kDrainMs, [this] { reactor_.stop(); });
          inbound_.drain([this] { reactor_.stop(); });
        }));
    inbound_.start();
    reactor_.after_each_round([this] { link_.flush(); });
    return reactor_.run();
  }

 private:
  // Nothing goes out, so there is nothing in it to ask but the limits.
  void take_policy(const control::Policy& next, const sys::OwnedFd& file) {
    const auto compiled = sys::Mapping::of(file, next.size);
    if (!compiled) return reactor_.stop();
    const auto image = policy::Image::open(compiled->bytes());
    if (!image) return reactor_.stop();
    meter_.narrow(of_published(image->limits()), reactor_.now_ms());
    inbound_.change_idle_timeouts(next);
    link_.send(control::PolicyTaken{.generation = next.generation});
  }

  sys::Reactor& reactor_;
  Link link_;
  Meter meter_;
  RelayContext relays_;
  InboundTable inbound_;
};

class Gateway {
 public:
  Gateway(sys::Reactor& reactor, sys::Channel channel, sys::Mapping compiled, policy::Image image,
          const control::Start& world)
      : reactor_(reactor),
        compiled_(std::move(compiled)),
        image_(std::move(image)),
        link_(reactor, std::move(channel)),
        tun_(reactor, sys::OwnedFd(kTun)),
        resolver_(reactor, link_, tun_, image_, world),
        meter_(image_.limits(), report_to(link_, control::LimitReached::Of::sandbox)),
        published_meter_(of_published(image_.limits()), report_to(link_, control::LimitReached::Of::published)),
        relays_{.reactor = reactor, .pipes = {}},
        flows_(reactor, link_, tun_, resolver_, relays_, meter_, sys::OwnedFd(kListener), world.idle_timeout_ms),
        inbound_(reactor, link_, relays_, published_meter_, world),
        proxies_(reactor, link_, resolver_, flows_, meter_, world),
        refuser_(reactor, link_, tun_),
        datagrams_(reactor, link_, tun_, resolver_, refuser_, meter_, world.udp_idle_timeout_ms),
        router_(refuser_, resolver_, flows_, datagrams_, image_, world) {
    flows_.serve_here(
        {.is_here =
             [world](const net::Endpoint& to) {
               const bool ours = to.address == world.gateway4 || to.address == world.gateway6;
               return ours && (to.port == net::kHttpProxyPort || to.port == net::kSocksProxyPort);
             },
         .serve = [this](sys::OwnedFd guest, const net::Endpoint& here) { proxies_.serve(std::move(guest), here); }});
  }

  Result<> serve() {
    WEIR_CHECK_OK(link_.start(
        [this](const control::ToGateway& message, sys::OwnedFd passed) { on_message(message, std::move(passed)); },
        [this] { drain(); }));
    WEIR_CHECK_OK(flows_.start());
    inbound_.start();
    datagrams_.start();
    WEIR_CHECK_OK(tun_.start([this](Bytes packet) { router_.on_packet(packet); }, [this] { return link_.flush(); }));
    reactor_.after_each_round([this] {
      datagrams_.flush();
      tun_.flush();
    });
    return reactor_.run();
  }

 private:
  void on_message(const control::ToGateway& message, sys::OwnedFd passed) {
    if (inbound_.take(message, passed)) return;
    if (const auto* connect = std::get_if<control::ConnectAnswer>(&message)) {
      if (proxies_.on_answer(*connect, passed)) return;
      if (datagrams_.asked(connect->flow)) return datagrams_.on_answer(*connect, std::move(passed));
      return flows_.on_answer(*connect, std::move(passed));
    }
    if (const auto* flight = std::get_if<control::FlightAnswer>(&message)) {
      if (proxies_.on_answer(*flight)) return;
      return flows_.on_answer(*flight);
    }
    if (const auto* learned = std::get_if<control::LearnAnswer>(&message)) return resolver_.on_answer(*learned);
    if (const auto* socket = std::get_if<control::ResolverAnswer>(&message))
      return resolver_.on_answer(*socket, std::move(passed));
    if (const auto* lost = std::get_if<control::Cut>(&message)) return cut(lost->flow);
    if (const auto* policy = std::get_if<control::Policy>(&message)) return take_policy(*policy, passed);
  }

  // Whoever has the flow reports its end.
  void cut(std::uint64_t flow) {
    if (!datagrams_.cut(flow) && !proxies_.cut(flow) && !inbound_.cut(flow)) flows_.cut(flow);
  }

  // From the next line on nothing is answered by the old one. A gateway that cannot take it must not go on.
  void take_policy(const control::Policy& next, const sys::OwnedFd& file) {
    auto compiled = sys::Mapping::of(file, next.size);
    if (!compiled) return reactor_.stop();
    auto image = policy::Image::open(compiled->bytes());
    if (!image) return reactor_.stop();
    image_ = std::move(*image);
    compiled_ = std::move(*compiled);
    resolver_.policy_changed();
    meter_.narrow(image_.limits(), reactor_.now_ms());
    published_meter_.narrow(of_published(image_.limits()), reactor_.now_ms());
    flows_.change_idle_timeout(next.idle_timeout_ms);
    inbound_.change_idle_timeouts(next);
    proxies_.change_idle_timeout(next.idle_timeout_ms);
    datagrams_.change_idle_timeout(next.udp_idle_timeout_ms);
    link_.send(control::PolicyTaken{.generation = next.generation});
  }

  void drain() {
    reactor_.at(reactor_.now_ms() + kDrainMs, [this] { reactor_.stop(); });
    tun_.read_rest();
    datagrams_.drain();
    proxies_.drain();
    inbound_.drain([] {});
    flows_.drain([this] { inbound_.drain([this] { reactor_.stop(); }); });
  }

  sys::Reactor& reactor_;
  sys::Mapping compiled_;
  policy::Image image_;  // of it
  Link link_;
  Tun tun_;
  Resolver resolver_;
  Meter meter_;
  Meter published_meter_;
  RelayContext relays_;
  FlowTable flows_;
  InboundTable inbound_;
  Proxies proxies_;
  Refuser refuser_;
  DatagramTable datagrams_;
  Router router_;
};

Result<> serve() {
  // Its parent's death is its own. Set before anything else; the supervisor's channel tells if it was too late.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::signal(SIGPIPE, SIG_IGN);
  sys::Channel channel{sys::OwnedFd(kControl)};
  WEIR_TRY(sys::Mapping compiled, sys::Mapping::of(sys::OwnedFd(kPolicy)));
  WEIR_TRY(policy::Image image, policy::Image::open(compiled.bytes()));
  WEIR_TRY(sys::Reactor reactor, sys::Reactor::create());
  // Beyond this point no file, no new socket, no other process. Hostile bytes are read only after it.
  if (::dup2(STDIN_FILENO, STDERR_FILENO) < 0) return sys::errno_error("cannot let go of the caller's standard error");
  WEIR_CHECK_OK(confine());
  WEIR_TRY(const control::Start world, read_start(channel));
  if (world.captured == control::Captured::no)
    return InboundGateway(reactor, std::move(channel), image.limits(), world).serve();
  Gateway gateway(reactor, std::move(channel), std::move(compiled), std::move(image), world);
  return gateway.serve();
}

}  // namespace

std::size_t descriptors_besides_flows() {
  constexpr std::size_t kOwn = 16;  // standard ones, the inherited four, the event loop
  return kOwn + 2 * (PipePool::kMaxLent + PipePool::kMaxIdle) + Resolver::kMaxStreams + Resolver::kMaxLookups +
         Proxies::kMaxSessions + control::kMaxInboundPorts + sys::Channel::kMaxPassed;
}

int run() {
  const auto served = serve();
  if (served) return 0;
  std::fprintf(stderr, "weir: the gateway cannot serve: %s\n", served.error().what().c_str());
  return 1;
}

}  // namespace weir::gateway
