#include "gateway/resolver/dns_stream.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "gateway/resolver/resolver.h"

namespace weir::gateway {

DnsStream::DnsStream(sys::Reactor& reactor, Resolver& resolver, sys::OwnedFd guest, std::uint64_t idle_ms)
    : reactor_(reactor),
      resolver_(resolver),
      guest_(std::move(guest)),
      idle_ms_(idle_ms),
      self_(std::make_shared<DnsStream*>(this)) {}

DnsStream::~DnsStream() {
  reactor_.cancel(timer_);
  *self_ = nullptr;
}

void DnsStream::start() {
  restart_idle_timer();
  if (!reactor_.watch(guest_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this)) finish();
}

void DnsStream::on_events(std::uint32_t) {
  if (!guest_.valid()) return;
  flush();
  receive();
}

void DnsStream::receive() {
  std::array<std::uint8_t, 4096> buffer;
  while (guest_.valid() && !input_ended_) {
    const ssize_t count = ::recv(guest_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) return finish();
    input_ended_ = count == 0;
    received_.insert(received_.end(), buffer.begin(), buffer.begin() + count);
    take_messages();
  }
  if (guest_.valid() && input_ended_ && open_questions_ == 0 && unsent_.empty()) finish();
}

void DnsStream::take_messages() {
  std::size_t start = 0;
  while (guest_.valid() && received_.size() - start >= 2) {
    const std::size_t length = (static_cast<std::size_t>(received_[start]) << 8) | received_[start + 1];
    if (length > kMaxQuery) return finish();
    if (received_.size() - start < 2 + length) break;
    const std::vector<std::uint8_t> message(received_.begin() + static_cast<std::ptrdiff_t>(start + 2),
                                            received_.begin() + static_cast<std::ptrdiff_t>(start + 2 + length));
    start += 2 + length;
    restart_idle_timer();
    ++open_questions_;
    resolver_.serve(message, wire::dns::Carrier::tcp, [self = self_](Bytes response) {
      if (*self != nullptr) (*self)->send(response);
    });
  }
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(start));
}

void DnsStream::send(Bytes message) {
  if (!guest_.valid()) return;
  // The guest learns nothing before its question is on record.
  if (!resolver_.flush_records()) return;
  --open_questions_;
  if (unsent_.size() + message.size() > kMaxUnsent) return finish();
  unsent_.push_back(static_cast<std::uint8_t>(message.size() >> 8));
  unsent_.push_back(static_cast<std::uint8_t>(message.size()));
  unsent_.insert(unsent_.end(), message.begin(), message.end());
  flush();
  if (guest_.valid() && input_ended_ && open_questions_ == 0 && unsent_.empty()) finish();
}

void DnsStream::flush() {
  while (guest_.valid() && !unsent_.empty()) {
    const ssize_t count = ::send(guest_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) return finish();
    unsent_.erase(unsent_.begin(), unsent_.begin() + count);
  }
}

void DnsStream::restart_idle_timer() {
  reactor_.cancel(timer_);
  timer_ = reactor_.at(reactor_.now_ms() + idle_ms_, [this] {
    // While an answer is due it is not the guest who is idle; every lookup ends.
    if (open_questions_ > 0) return restart_idle_timer();
    finish();
  });
}

void DnsStream::finish() {
  if (!guest_.valid()) return;
  // Everything was answered or the guest is gone: an orderly end.
  const linger none{.l_onoff = 0, .l_linger = 0};
  ::setsockopt(guest_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  guest_.reset();
  resolver_.stream_ended(*this);
}

}  // namespace weir::gateway
