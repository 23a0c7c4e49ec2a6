#include "gateway/link.h"

#include <array>

namespace weir::gateway {

Result<> Link::start(Handler handler, std::function<void()> on_end) {
  handler_ = std::move(handler);
  on_end_ = std::move(on_end);
  return reactor_.watch(channel_.fd(), EPOLLIN, *this);
}

void Link::send(const control::FromGateway& message) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  if (!channel_.send_plain(control::encode(message, buffer))) reactor_.stop();
}

void Link::on_events(std::uint32_t) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  // Bounded so that a flood of answers does not starve the flows.
  for (int i = 0; i < 64; ++i) {
    auto received = channel_.receive(buffer);
    if (!received || received->state == sys::Channel::Received::State::closed) return end();
    if (received->state == sys::Channel::Received::State::nothing) return;
    const auto message = control::decode<control::ToGateway>(received->message);
    if (!message) return end();
    handler_(*message, std::move(received->passed));
  }
}

void Link::end() {
  reactor_.forget(channel_.fd());
  on_end_();
}

}  // namespace weir::gateway
