#include "gateway/tun.h"

#include <unistd.h>

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
  waiting_.insert(waiting_.end(), packet.begin(), packet.end());
  sizes_.push_back(packet.size());
}

void Tun::flush() {
  Bytes rest = before_writing_() ? Bytes(waiting_) : Bytes();
  for (std::size_t i = 0; i < sizes_.size() && !rest.empty(); ++i) {
    while (::write(fd_.get(), rest.data(), sizes_[i]) < 0 && errno == EINTR) {
    }
    rest = rest.subspan(sizes_[i]);
  }
  waiting_.clear();
  sizes_.clear();
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
  if (count > 0) on_packet_(Bytes(buffer_).first(static_cast<std::size_t>(count)));
  // EBADFD: the device is gone, and with it the sandbox's namespace.
  if (count == 0 || (count < 0 && errno != EAGAIN)) reactor_.stop();
  return count > 0;
}

}  // namespace weir::gateway
