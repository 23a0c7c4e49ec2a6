#include "gateway/tun.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weir::gateway {

namespace {

// Packets read in a row before the flows get their turn.
constexpr int kPacketsPerRound = 64;
// What the device keeps: its txqueuelen.
constexpr int kPacketsOfDevice = 8000;
// Packets that wait for the end of the round: the answers to a round of questions.
constexpr std::size_t kMaxWaiting = 128 * 1024;

}  // namespace

Result<> Tun::start(std::function<void(Bytes)> on_packet, std::function<bool()> before_writing) {
  on_packet_ = std::move(on_packet);
  before_writing_ = std::move(before_writing);
  return reactor_.watch(fd_.get(), EPOLLIN, *this);
}

void Tun::write(Bytes packet) {
  if (packet.empty()) return;
  if (waiting_.size() + packet.size() > kMaxWaiting) flush();
  waiting_.add(packet);
}

void Tun::write_datagram(net::Endpoint source, net::Endpoint destination, Bytes payload) {
  if (waiting_.size() + payload.size() > kMaxWaiting) flush();
  waiting_.add_datagram(source, destination, payload);
}

void Tun::flush() {
  // Also without a packet: this is the end of a round.
  if (!before_writing_()) return waiting_.clear();
  for (std::size_t i = 0; i < waiting_.count(); ++i) {
    const std::size_t parts = waiting_.parts(i);
    if (write_frame(waiting_.frame(i)) || parts == 1 || errno != EINVAL) continue;
    // A kernel before 6.2: it does not cut datagrams, and is not asked again.
    waiting_.stop_joining();
    for (std::size_t part = 0; part < parts; ++part) write_frame(waiting_.part(i, part));
  }
  waiting_.clear();
}

bool Tun::write_frame(Bytes frame) {
  ssize_t count = -1;
  do {
    count = ::write(fd_.get(), frame.data(), frame.size());
  } while (count < 0 && errno == EINTR);
  return count >= 0;
}

void Tun::on_events(std::uint32_t) {
  for (int i = 0; i < kPacketsPerRound && read_packet(); ++i) {
  }
}

void Tun::read_rest() {
  for (int i = 0; i < kPacketsOfDevice && read_packet(); ++i) {
  }
}

bool Tun::read_packet() {
  ssize_t count = -1;
  do {
    count = ::read(fd_.get(), buffer_.data(), buffer_.size());
  } while (count < 0 && errno == EINTR);
  // Nothing that a device without offloads gives needs what the header says; what claims otherwise is not looked at.
  const Bytes frame = Bytes(buffer_).first(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  if (PacketQueue::is_finished(frame)) on_packet_(frame.subspan(PacketQueue::kVirtioHeader));
  // EBADFD: the device is gone, and with it the sandbox's namespace.
  if (count == 0 || (count < 0 && errno != EAGAIN)) reactor_.stop();
  return count > 0;
}

}  // namespace weir::gateway
