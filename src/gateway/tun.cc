#include "gateway/tun.h"

#include <unistd.h>

#include <cerrno>

namespace weir::gateway {

namespace {

// Packets read in a row before the flows get their turn.
constexpr int kPacketsPerRound = 64;

}  // namespace

Result<> Tun::start(std::function<void(Bytes)> on_packet) {
  on_packet_ = std::move(on_packet);
  return reactor_.watch(fd_.get(), EPOLLIN, *this);
}

void Tun::write(Bytes packet) {
  if (packet.empty()) return;
  while (::write(fd_.get(), packet.data(), packet.size()) < 0 && errno == EINTR) {
  }
}

void Tun::on_events(std::uint32_t) {
  for (int i = 0; i < kPacketsPerRound; ++i) {
    const ssize_t count = ::read(fd_.get(), buffer_.data(), buffer_.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    // EBADFD: the device is gone, and with it the sandbox's namespace.
    if (count <= 0) return reactor_.stop();
    on_packet_(Bytes(buffer_).first(static_cast<std::size_t>(count)));
  }
}

}  // namespace weir::gateway
