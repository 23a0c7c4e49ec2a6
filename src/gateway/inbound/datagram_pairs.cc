#include "gateway/inbound/datagram_pairs.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "wire/packet.h"

namespace weir::gateway {

namespace {

constexpr std::uint64_t kLongestSweepMs = 1000;

}  // namespace

DatagramPairs::DatagramPairs(sys::Reactor& reactor, Link& link, Meter& meter, std::uint64_t idle_timeout_ms,
                             std::uint64_t most)
    : reactor_(reactor), link_(link), meter_(meter), sweep_(reactor, idle_timeout_ms, kLongestSweepMs), most_(most) {}

void DatagramPairs::on(const control::InboundPort& message, sys::OwnedFd socket) {
  ports_.insert_or_assign(message.port, DatagramSocket(std::move(socket), 0));
}

void DatagramPairs::on(const control::InboundTake& message) {
  if (const auto port = ports_.find(message.port); port != ports_.end()) {
    const auto came = received().read(port->second.fd(), 1);
    // Nobody else reads there; should it be somebody else's all the same, it is lost.
    if (!came.empty() && came[0].from->endpoint() == message.client) {
      if (const auto found = live_.find(message.flow); found != live_.end()) {
        found->second->pass_in(came[0].bytes);
      } else {
        hold(message.flow, came[0].bytes);
      }
    }
  }
  link_.send(control::InboundTaken{.port = message.port});
}

ReceiveBatch& DatagramPairs::received() {
  if (!received_) received_ = std::make_unique<ReceiveBatch>();
  return *received_;
}

void DatagramPairs::hold(std::uint64_t flow, Bytes message) {
  Held& held = held_[flow];
  if (held.size() >= kMaxHeld || held_bytes_ + message.size() > kMaxHeldBytes) return;
  held.emplace_back(message.begin(), message.end());
  held_bytes_ += message.size();
}

DatagramPairs::Held DatagramPairs::release(std::uint64_t flow) {
  auto node = held_.extract(flow);
  if (node.empty()) return {};
  for (const auto& message : node.mapped()) held_bytes_ -= message.size();
  return std::move(node.mapped());
}

void DatagramPairs::on(const control::InboundGone& message) {
  release(message.flow);
}

void DatagramPairs::open(std::uint64_t flow, sys::OwnedFd client, sys::OwnedFd guest) {
  auto pair = std::make_unique<DatagramPair>(DatagramPair::Context{reactor_, meter_, received()}, flow,
                                             std::move(client), std::move(guest),
                                             [this, flow](const DatagramPair::End& end) { ended(flow, end); });
  DatagramPair& opened = *pair;
  live_.emplace(flow, std::move(pair));
  const Held held = release(flow);
  if (!opened.start()) return end(flow);
  for (const auto& message : held) opened.pass_in(message);
}

void DatagramPairs::end(std::uint64_t flow) {
  if (const auto found = live_.find(flow); found != live_.end()) ended(flow, found->second->finish());
}

bool DatagramPairs::cut(std::uint64_t flow) {
  const auto found = live_.find(flow);
  if (found == live_.end()) return false;
  ended(flow, found->second->abort(ECONNABORTED));
  return true;
}

void DatagramPairs::ended(std::uint64_t flow, const DatagramPair::End& end) {
  auto node = live_.extract(flow);
  if (node.empty()) return;
  reactor_.retire(std::move(node.mapped()));
  link_.send(control::FlowClosed{.flow = flow,
                                 .bytes_up = end.bytes_up,
                                 .bytes_down = end.bytes_down,
                                 .error = static_cast<std::uint32_t>(end.error)});
}

void DatagramPairs::drain() {
  while (!live_.empty()) end(live_.begin()->first);
}

void DatagramPairs::end_idle() {
  // Nearly full, silence counts for everybody: who speaks twice may be forged as well.
  const bool crowded = live_.size() >= most_ / 2;
  const bool full = live_.size() >= most_ - most_ / 4;
  std::vector<std::uint64_t> idle;
  for (const auto& [flow, pair] : live_) {
    const std::uint64_t silent_ms = reactor_.now_ms() - pair->last_activity_ms();
    const bool in_the_way =
        pair->is_established() ? full && silent_ms > kFullIdleMs : crowded && silent_ms > kCrowdedIdleMs;
    if (in_the_way || sweep_.is_idle(pair->last_activity_ms())) idle.push_back(flow);
  }
  for (const std::uint64_t flow : idle) end(flow);
}

}  // namespace weir::gateway
