#include "gateway/inbound/inbound_table.h"

#include <cerrno>
#include <vector>

namespace weir::gateway {

InboundTable::InboundTable(sys::Reactor& reactor, Link& link, RelayContext& context, Meter& meter,
                           const control::Start& world)
    : reactor_(reactor),
      link_(link),
      sweep_(reactor, world.idle_timeout_ms, RelayContext::kLongestSweepMs),
      context_(context),
      meter_(meter),
      datagrams_(reactor, link, meter, world.udp_idle_timeout_ms, world.datagram_clients) {}

InboundTable::~InboundTable() = default;

bool InboundTable::take(const control::ToGateway& message, sys::OwnedFd& passed) {
  if (const auto* client = std::get_if<control::InboundClient>(&message)) {
    on(*client, std::move(passed));
  } else if (const auto* guest = std::get_if<control::InboundGuest>(&message)) {
    on(*guest, std::move(passed));
  } else if (const auto* port = std::get_if<control::InboundPort>(&message)) {
    datagrams_.on(*port, std::move(passed));
  } else if (const auto* datagram = std::get_if<control::InboundTake>(&message)) {
    datagrams_.on(*datagram);
  } else if (const auto* gone = std::get_if<control::InboundGone>(&message)) {
    datagrams_.on(*gone);
  } else {
    return false;
  }
  return true;
}

void InboundTable::on(const control::InboundClient& message, sys::OwnedFd client) {
  waiting_ = message;
  client_ = std::move(client);
}

void InboundTable::on(const control::InboundGuest& message, sys::OwnedFd guest) {
  sys::OwnedFd client = std::move(client_);
  if (!client.valid() || waiting_.flow != message.flow) return;
  if (waiting_.protocol == net::Protocol::udp)
    return datagrams_.open(message.flow, std::move(client), std::move(guest));
  relay(message.flow, std::move(client), std::move(guest));
}

void InboundTable::relay(std::uint64_t flow, sys::OwnedFd client, sys::OwnedFd guest) {
  auto relay = std::make_unique<Relay>(context_, meter_, std::move(guest), std::move(client), nullptr,
                                       [this, flow](Relay&, const Relay::End& end) { ended(flow, end); });
  Relay& started = *relay;
  live_.emplace(flow, std::move(relay));
  if (!started.start()) started.abort(EMFILE);
}

bool InboundTable::cut(std::uint64_t flow) {
  if (datagrams_.cut(flow)) return true;
  const auto found = live_.find(flow);
  if (found == live_.end()) return false;
  found->second->abort(ECONNABORTED);
  return true;
}

void InboundTable::ended(std::uint64_t flow, const Relay::End& end) {
  auto node = live_.extract(flow);
  if (node.empty()) return;
  reactor_.retire(std::move(node.mapped()));
  if (end.used_up) meter_.report(*end.used_up, flow);
  link_.send(control::FlowClosed{.flow = flow,
                                 .bytes_up = end.bytes_up,
                                 .bytes_down = end.bytes_down,
                                 .error = static_cast<std::uint32_t>(end.error)});
  if (on_drained_ && live_.empty()) on_drained_();
}

void InboundTable::drain(std::function<void()> on_drained) {
  datagrams_.drain();
  std::vector<Relay*> relays;
  for (const auto& [flow, relay] : live_) relays.push_back(relay.get());
  for (Relay* relay : relays) relay->drain();
  on_drained_ = std::move(on_drained);
  if (live_.empty()) on_drained_();
}

void InboundTable::end_idle() {
  std::vector<Relay*> idle;
  for (const auto& [flow, relay] : live_) {
    if (sweep_.is_idle(relay->last_activity_ms())) idle.push_back(relay.get());
  }
  for (Relay* relay : idle) relay->abort(ETIMEDOUT);
}

}  // namespace weir::gateway
