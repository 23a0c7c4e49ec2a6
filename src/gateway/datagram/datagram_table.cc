#include "gateway/datagram/datagram_table.h"

#include <cerrno>
#include <utility>

namespace weir::gateway {

void DatagramTable::on_packet(const wire::Packet& packet) {
  const auto datagram = datagram_of(packet);
  if (!datagram) return;
  if (const auto found = flows_.find(datagram->key); found != flows_.end())
    return found->second->send(datagram->message);
  const auto asking = asking_.find(datagram->key);
  if (asking != asking_.end()) return hold(asking->second, packet);
  if (asking_.size() >= kMaxAsking) return;
  hold(asking_[datagram->key], packet);
  ask(datagram->key, control::Resolution::not_tried);
}

void DatagramTable::hold(Asking& asking, const wire::Packet& packet) {
  if (asking.held.size() >= kMaxHeldPackets || held_bytes_ + packet.bytes.size() > kMaxHeldBytes) return;
  asking.held.emplace_back(packet.bytes.begin(), packet.bytes.end());
  held_bytes_ += packet.bytes.size();
}

// Under a new number, also when it asks again: the supervisor takes each only once.
void DatagramTable::ask(const DatagramKey& key, control::Resolution resolution) {
  Asking& asking = asking_.at(key);
  numbers_.erase(asking.number);
  asking.number = link_.next_id();
  numbers_.emplace(asking.number, key);
  link_.send(control::Connect{
      .flow = asking.number, .protocol = key.protocol, .destination = key.tuple.destination, .resolution = resolution});
}

void DatagramTable::on_answer(const control::ConnectAnswer& answer, sys::OwnedFd socket) {
  using Outcome = control::ConnectAnswer::Outcome;
  const DatagramKey key = numbers_.at(answer.flow);
  switch (answer.outcome) {
    case Outcome::connected:
      return open(key, std::move(socket));
    case Outcome::failed:
      return refuse(key, refusal_for(answer.error));
    case Outcome::resolve:
      if (answer.name) return resolve(key, *answer.name);
      return refuse(key, wire::Refusal::prohibited);
    case Outcome::refused:
    case Outcome::resolver:
    case Outcome::connected_hold:  // datagrams have no first flight that could be judged
    case Outcome::count_:
      return refuse(key, wire::Refusal::prohibited);
  }
}

void DatagramTable::resolve(const DatagramKey& key, const net::DomainName& name) {
  resolver_.resolve(name, [this, key, number = asking_.at(key).number] {
    if (asked(number)) ask(key, control::Resolution::tried);
  });
}

void DatagramTable::open(const DatagramKey& key, sys::OwnedFd socket) {
  const Asking asking = take_out(key);
  auto flow = std::make_unique<DatagramFlow>(context_, key, asking.number, std::move(socket));
  DatagramFlow& opened = *flows_.emplace(key, std::move(flow)).first->second;
  numbers_.emplace(asking.number, key);
  if (!opened.start()) return close(key);
  for (const auto& bytes : asking.held) {
    const auto packet = wire::parse_packet(bytes);
    if (const auto datagram = packet ? datagram_of(*packet) : std::nullopt) opened.send(datagram->message);
  }
}

void DatagramTable::refuse(const DatagramKey& key, wire::Refusal how) {
  const Asking asking = take_out(key);
  for (const auto& bytes : asking.held) {
    if (const auto packet = wire::parse_packet(bytes)) refuser_.answer(*packet, how);
  }
}

DatagramTable::Asking DatagramTable::take_out(const DatagramKey& key) {
  Asking asking = std::move(asking_.extract(key).mapped());
  numbers_.erase(asking.number);
  for (const auto& bytes : asking.held) held_bytes_ -= bytes.size();
  return asking;
}

void DatagramTable::close(const DatagramKey& key) {
  auto node = flows_.extract(key);
  if (node.empty()) return;
  const int error = node.mapped()->count().error;
  node.mapped()->end();
  ended(std::move(node.mapped()), error);
}

bool DatagramTable::cut(std::uint64_t number) {
  const auto found = numbers_.find(number);
  if (found == numbers_.end()) return false;
  auto node = flows_.extract(found->second);
  if (node.empty()) return false;
  node.mapped()->abort();
  ended(std::move(node.mapped()), ECONNABORTED);
  return true;
}

void DatagramTable::ended(std::unique_ptr<DatagramFlow> flow, int error) {
  numbers_.erase(flow->number());
  link_.send(control::FlowClosed{.flow = flow->number(),
                                 .bytes_up = flow->count().bytes_up,
                                 .bytes_down = flow->count().bytes_down,
                                 .error = static_cast<std::uint32_t>(error)});
  reactor_.retire(std::move(flow));
}

void DatagramTable::drain() {
  while (!flows_.empty()) close(DatagramKey(flows_.begin()->first));
}

void DatagramTable::end_idle() {
  std::vector<DatagramKey> idle;
  for (const auto& [key, flow] : flows_) {
    if (sweep_.is_idle(flow->last_activity_ms())) idle.push_back(key);
  }
  for (const DatagramKey& key : idle) close(key);
}

}  // namespace weir::gateway
