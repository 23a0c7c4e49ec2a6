#include "gateway/link.h"

#include <array>

namespace weir::gateway {

Result<> Link::start(Handler handler, std::function<void()> on_end) {
  handler_ = std::move(handler);
  on_end_ = std::move(on_end);
  return reactor_.watch(channel_.fd(), EPOLLIN, *this);
}

void Link::send(const control::FromGateway& message) {
  if (batch_.full() && !flush()) return;
  batch_.add(message);
}

bool Link::flush() {
  if (batch_.empty()) return true;
  const bool sent = channel_.send_plain(batch_.bytes()).has_value();
  batch_.clear();
  if (!sent) reactor_.stop();
  return sent;
}

void Link::on_events(std::uint32_t) {
  std::array<std::uint8_t, control::kMaxPacket> buffer;
  // Bounded so that a flood of answers does not starve the flows.
  for (int i = 0; i < 16; ++i) {
    auto received = channel_.receive(buffer, sys::Channel::kMaxPassed);
    if (!received || received->state == sys::Channel::Received::State::closed) return end();
    if (received->state == sys::Channel::Received::State::nothing) return;
    if (!take(received->message, received->passed)) return end();
  }
}

// False: the supervisor broke the protocol.
bool Link::take(Bytes packet, std::vector<sys::OwnedFd>& passed) {
  std::size_t next = 0;
  while (!packet.empty()) {
    const auto message = control::next_message<control::ToGateway>(packet);
    if (!message) return false;
    const bool carries = control::carries_descriptor(*message);
    if (carries && next == passed.size()) return false;
    handler_(*message, carries ? std::move(passed[next++]) : sys::OwnedFd());
  }
  return true;
}

void Link::end() {
  reactor_.forget(channel_.fd());
  on_end_();
}

}  // namespace weir::gateway
