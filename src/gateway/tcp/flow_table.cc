#include "gateway/tcp/flow_table.h"

#include <sys/socket.h>

#include <cerrno>

#include "gateway/refuser.h"
#include "gateway/tcp/first_flight_gate.h"
#include "policy/compiled/verdict.h"
#include "sys/socket_address.h"

namespace weir::gateway {

namespace {

constexpr std::uint64_t kUnclaimedMs = 2000;        // the client gave up, or accept would have returned
constexpr std::uint64_t kGuestPatienceMs = 32'000;  // tcp_syn_retries 4: ETIMEDOUT after 31 s
constexpr int kAcceptsPerRound = 64;
constexpr std::uint64_t kAcceptAgainMs = 50;  // out of descriptors
constexpr std::size_t kMaxSyn = 40 + 60;      // an IPv6 header and the longest TCP header
constexpr auto kReasonProtocol = static_cast<std::uint8_t>(policy::Reason::protocol);

}  // namespace

std::size_t FourTupleHash::operator()(const FourTuple& tuple) const noexcept {
  const std::hash<net::IpAddress> hash;
  const std::size_t ports = (static_cast<std::size_t>(tuple.guest.port) << 16) | tuple.destination.port;
  return hash(tuple.destination.address) ^ (hash(tuple.guest.address) * 31) ^ (ports * 0x9e3779b97f4a7c15ull);
}

FlowTable::FlowTable(sys::Reactor& reactor, Link& link, Tun& tun, Resolver& resolver, RelayContext& context,
                     Meter& meter, sys::OwnedFd listener, std::uint64_t idle_timeout_ms)
    : reactor_(reactor),
      link_(link),
      tun_(tun),
      resolver_(resolver),
      listener_(std::move(listener)),
      sweep_(reactor, idle_timeout_ms, RelayContext::kLongestSweepMs),
      context_(context),
      meter_(meter) {}

FlowTable::~FlowTable() = default;

Result<> FlowTable::start() {
  sweep_.start([this] { end_idle(); });
  return reactor_.watch(listener_.get(), EPOLLIN, *this);
}

void FlowTable::on_syn(const wire::Packet& packet) {
  const auto tcp = wire::parse_tcp(packet);
  if (!tcp) return;
  const FourTuple tuple{.guest = {packet.source, tcp->source_port},
                        .destination = {packet.destination, tcp->destination_port}};
  const auto found = attempts_.find(tuple);
  if (found != attempts_.end() && found->second.sequence == tcp->sequence) {
    // While the upstream is dialled a repeated SYN changes nothing; afterwards the first one may have been lost.
    if (found->second.state == State::injected) tun_.write(found->second.syn);
    return;
  }
  if (found != attempts_.end()) give_up(tuple, ECANCELED);  // the guest reused its port: a new attempt
  const auto claimed = claimed_.find(tuple);
  if (claimed != claimed_.end() && live_.at(claimed->second).sequence == tcp->sequence) return;  // a late duplicate
  begin(tuple, tcp->sequence, packet);
}

void FlowTable::begin(const FourTuple& tuple, std::uint32_t sequence, const wire::Packet& packet) {
  // Silence delays: the guest's kernel sends the SYN again.
  if (attempts_.size() >= kMaxAttempts) return;
  std::array<std::uint8_t, kMaxSyn> buffer;
  const Bytes syn = wire::syn_without_payload(packet, buffer);
  if (syn.empty()) return;
  Attempt attempt;
  attempt.sequence = sequence;
  attempt.syn.assign(syn.begin(), syn.end());
  attempt.local = local_.is_here && local_.is_here(tuple.destination);
  Attempt& added = attempts_.emplace(tuple, std::move(attempt)).first->second;
  if (added.local) return inject(tuple, added);
  ask(tuple, control::Resolution::not_tried);
}

// Under a new number, also when it asks again: the supervisor takes each only once.
void FlowTable::ask(FourTuple tuple, control::Resolution resolution) {
  Attempt& attempt = attempts_.at(tuple);
  asking_.erase(attempt.flow);
  attempt.flow = link_.next_id();
  asking_.emplace(attempt.flow, tuple);
  link_.send(control::Connect{.flow = attempt.flow, .destination = tuple.destination, .resolution = resolution});
}

void FlowTable::on_answer(const control::ConnectAnswer& answer, sys::OwnedFd upstream) {
  using Outcome = control::ConnectAnswer::Outcome;
  const auto waiting = asking_.find(answer.flow);
  if (waiting == asking_.end()) {
    // The guest gave up meanwhile. The upstream socket closes with a reset; the record ends.
    if (upstream.valid())
      link_.send(control::FlowClosed{.flow = answer.flow, .bytes_up = 0, .bytes_down = 0, .error = ECANCELED});
    return;
  }
  const FourTuple tuple = waiting->second;
  Attempt& attempt = attempts_.at(tuple);
  switch (answer.outcome) {
    case Outcome::refused:
      return refuse(tuple, wire::Refusal::reset);
    case Outcome::failed:
      return answer.error == ETIMEDOUT ? stay_silent(tuple, attempt) : refuse(tuple, refusal_for(answer.error));
    case Outcome::resolve:
      if (!answer.name) return refuse(tuple, wire::Refusal::reset);
      return resolver_.resolve(*answer.name, [this, flow = answer.flow] {
        const auto still = asking_.find(flow);
        if (still != asking_.end()) ask(still->second, control::Resolution::tried);
      });
    case Outcome::resolver:
      attempt.resolver = true;
      return inject(tuple, attempt);
    case Outcome::connected:
    case Outcome::connected_hold:
      if (!upstream.valid()) return refuse(tuple, wire::Refusal::reset);
      attempt.upstream = std::move(upstream);
      attempt.hold = answer.outcome == Outcome::connected_hold;
      return inject(tuple, attempt);
    case Outcome::count_:
      return;
  }
}

void FlowTable::inject(const FourTuple& tuple, Attempt& attempt) {
  attempt.state = State::injected;
  ++injected_;
  asking_.erase(attempt.flow);
  attempt.timer = reactor_.at(reactor_.now_ms() + kUnclaimedMs, [this, tuple] { give_up(tuple, ECANCELED); });
  tun_.write(attempt.syn);
}

// The guest's own timer speaks (dataplane.md 4): until it has, its repeated SYNs belong to this attempt.
void FlowTable::stay_silent(const FourTuple& tuple, Attempt& attempt) {
  attempt.state = State::silent;
  asking_.erase(attempt.flow);
  attempt.timer = reactor_.at(reactor_.now_ms() + kGuestPatienceMs, [this, tuple] { forget(tuple); });
}

void FlowTable::refuse(const FourTuple& tuple, wire::Refusal how) {
  std::array<std::uint8_t, wire::kMaxAnswer> buffer;
  if (const auto packet = wire::parse_packet(attempts_.at(tuple).syn)) tun_.write(wire::answer(*packet, how, buffer));
  forget(tuple);
}

void FlowTable::forget(const FourTuple& tuple) {
  const auto found = attempts_.find(tuple);
  if (found == attempts_.end()) return;
  reactor_.cancel(found->second.timer);
  if (found->second.state == State::injected) --injected_;
  asking_.erase(found->second.flow);
  attempts_.erase(found);
}

// The attempt ends without a relay: an upstream that stands already is reset.
void FlowTable::give_up(const FourTuple& tuple, int error) {
  const auto found = attempts_.find(tuple);
  if (found == attempts_.end()) return;
  if (found->second.upstream.valid()) {
    link_.send(control::FlowClosed{
        .flow = found->second.flow, .bytes_up = 0, .bytes_down = 0, .error = static_cast<std::uint32_t>(error)});
  }
  forget(tuple);
}

void FlowTable::cut(std::uint64_t flow) {
  if (const auto live = live_.find(flow); live != live_.end()) return live->second.relay->abort(ECONNABORTED);
  // Connected, and written back to the guest, which has not been accepted yet. Only a cut looks for these.
  const auto attempt = std::ranges::find_if(attempts_, [flow](const auto& each) { return each.second.flow == flow; });
  if (attempt != attempts_.end()) give_up(FourTuple(attempt->first), ECONNABORTED);
}

void FlowTable::on_events(std::uint32_t) {
  // Not asked again once nothing can be waiting; what came uninvited makes the listener readable again.
  for (int i = 0; i == 0 || (i < kAcceptsPerRound && injected_ > 0); ++i) {
    sys::SocketAddress peer;
    sys::OwnedFd guest(::accept4(listener_.get(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!guest.valid()) return accept_failed(errno);
    accepted(std::move(guest), peer);
  }
}

// Out of descriptors or memory the connection stays queued, and the listener readable: asked at once it would only say
// so again.
void FlowTable::accept_failed(int error) {
  if (error != EMFILE && error != ENFILE && error != ENOMEM && error != ENOBUFS) return;
  reactor_.change(listener_.get(), 0, *this);
  reactor_.at(reactor_.now_ms() + kAcceptAgainMs, [this] { reactor_.change(listener_.get(), EPOLLIN, *this); });
}

void FlowTable::accepted(sys::OwnedFd guest, const sys::SocketAddress& peer) {
  sys::SocketAddress local;
  if (::getsockname(guest.get(), local.get(), &local.size) != 0) return;
  const auto from = peer.endpoint();
  const auto to = local.endpoint();
  if (!from || !to) return;
  const FourTuple tuple{.guest = *from, .destination = *to};
  const auto found = attempts_.find(tuple);
  if (found == attempts_.end() || found->second.state != State::injected) {
    // The guest found another way to the listener. The inherited linger option makes the close a reset.
    link_.send(control::Refused{
        .via = control::Refused::Via::tcp, .destination = tuple.destination, .reason = kReasonProtocol});
    return;
  }
  reactor_.cancel(found->second.timer);
  --injected_;
  auto node = attempts_.extract(found);
  claim(tuple, std::move(node.mapped()), std::move(guest));
}

void FlowTable::claim(const FourTuple& tuple, Attempt attempt, sys::OwnedFd guest) {
  if (attempt.resolver) return resolver_.serve_stream(std::move(guest));
  if (attempt.local) return local_.serve(std::move(guest), tuple.destination);
  claimed_[tuple] = attempt.flow;
  run_relay(tuple, attempt.sequence,
            {.flow = attempt.flow,
             .guest = std::move(guest),
             .upstream = std::move(attempt.upstream),
             .first_flight = attempt.hold ? FirstFlight::held : FirstFlight::free,
             .port = tuple.destination.port},
            {});
}

void FlowTable::adopt(Adopted tunnel, Bytes received) {
  run_relay({}, 0, std::move(tunnel), received);
}

void FlowTable::run_relay(const FourTuple& tuple, std::uint32_t sequence, Adopted flow, Bytes received) {
  const std::uint64_t number = flow.flow;
  std::unique_ptr<Gate> gate;
  if (flow.first_flight == FirstFlight::held)
    gate = std::make_unique<FirstFlightGate>(reactor_, link_, resolver_, number, flow.port);
  auto relay =
      std::make_unique<Relay>(context_, meter_, std::move(flow.guest), std::move(flow.upstream), std::move(gate),
                              [this, number](Relay&, const Relay::End& end) { relay_ended(number, end); });
  Relay& started = *relay;
  live_.emplace(number, Live{.tuple = tuple, .sequence = sequence, .relay = std::move(relay)});
  started.begin_with(received);
  if (!started.start()) started.abort(EMFILE);
}

void FlowTable::on_answer(const control::FlightAnswer& answer) {
  const auto found = live_.find(answer.flow);
  if (found != live_.end()) found->second.relay->gate_answered(answer);
}

void FlowTable::relay_ended(std::uint64_t flow, const Relay::End& end) {
  auto node = live_.extract(flow);
  if (node.empty()) return;
  const auto claimed = claimed_.find(node.mapped().tuple);
  if (claimed != claimed_.end() && claimed->second == flow) claimed_.erase(claimed);
  reactor_.retire(std::move(node.mapped().relay));
  if (end.used_up) meter_.report(*end.used_up, flow);
  link_.send(control::FlowClosed{.flow = flow,
                                 .bytes_up = end.bytes_up,
                                 .bytes_down = end.bytes_down,
                                 .error = static_cast<std::uint32_t>(end.error)});
  if (on_drained_ && live_.empty()) on_drained_();
}

void FlowTable::drain(std::function<void()> on_drained) {
  // Connections that were injected in the last moment may still wait to be accepted.
  on_events(EPOLLIN);
  on_drained_ = std::move(on_drained);
  std::vector<Relay*> relays;
  for (const auto& [flow, live] : live_) relays.push_back(live.relay.get());
  for (Relay* relay : relays) relay->drain();
  if (live_.empty()) on_drained_();
}

void FlowTable::end_idle() {
  std::vector<Relay*> idle;
  for (const auto& [flow, live] : live_) {
    if (sweep_.is_idle(live.relay->last_activity_ms())) idle.push_back(live.relay.get());
  }
  for (Relay* relay : idle) relay->abort(ETIMEDOUT);
}

}  // namespace weir::gateway
