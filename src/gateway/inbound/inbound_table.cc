#include "gateway/inbound/inbound_table.h"

#include <cerrno>
#include <vector>

namespace weir::gateway {

InboundTable::InboundTable(sys::Reactor& reactor, Link& link, RelayContext& context, Meter& meter,
                           std::uint64_t idle_timeout_ms)
    : reactor_(reactor),
      link_(link),
      sweep_(reactor, idle_timeout_ms, RelayContext::kLongestSweepMs),
      context_(context),
      meter_(meter) {}

InboundTable::~InboundTable() = default;

void InboundTable::on(const control::InboundClient& message, sys::OwnedFd client) {
  client_flow_ = message.flow;
  client_ = std::move(client);
}

void InboundTable::on(const control::InboundGuest& message, sys::OwnedFd guest) {
  sys::OwnedFd client = std::move(client_);
  if (!client.valid() || client_flow_ != message.flow) return;
  auto relay =
      std::make_unique<Relay>(context_, meter_, std::move(guest), std::move(client), nullptr,
                              [this, flow = message.flow](Relay&, const Relay::End& end) { ended(flow, end); });
  Relay& started = *relay;
  live_.emplace(message.flow, std::move(relay));
  if (!started.start()) started.abort(EMFILE);
}

bool InboundTable::cut(std::uint64_t flow) {
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
