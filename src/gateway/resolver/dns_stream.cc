#include "gateway/resolver/dns_stream.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "gateway/resolver/resolver.h"

namespace weir::gateway {

DnsStream::DnsStream(sys::Reactor& reactor, Resolver& resolver, sys::OwnedFd guest, Bytes received,
                     std::uint64_t idle_ms)
    : reactor_(reactor),
      resolver_(resolver),
      guest_(std::move(guest)),
      idle_ms_(idle_ms),
      received_(received.begin(), received.end()),
      self_(std::make_shared<DnsStream*>(this)) {}

DnsStream::~DnsStream() {
  reactor_.cancel(timer_);
  reactor_.cancel(continuation_);
  *self_ = nullptr;
}

void DnsStream::start() {
  restart_idle_timer();
  if (!reactor_.watch(guest_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this)) finish();
}

void DnsStream::on_events(std::uint32_t) {
  run();
}

// A guest that does not read its answers is not listened to: the next event is then that it reads.
void DnsStream::run() {
  flush();
  if (!guest_.valid() || !unsent_.empty()) return;
  const bool more = take_messages();
  reactor_.cancel(std::exchange(continuation_, 0));  // what was answered at once goes out here
  flush();
  if (!guest_.valid()) return;
  if (more) return continue_later();
  if (input_ended_ && open_questions_ == 0 && unsent_.empty()) finish();
}

// Runs again in the next round, after the others had their turn.
void DnsStream::continue_later() {
  if (continuation_ != 0) return;
  continuation_ = reactor_.at(reactor_.now_ms(), [this] {
    continuation_ = 0;
    run();
  });
}

// True if the budget ended it: a guest that asks faster than it is answered would never let this end.
bool DnsStream::take_messages() {
  for (std::size_t taken = 0; guest_.valid() && open_questions_ < kMaxOpenQuestions;) {
    if (taken == kMessagesPerRun) return true;
    if (take_message()) {
      ++taken;
    } else if (!receive()) {
      return false;
    }
  }
  return false;
}

// False: nothing came, or nothing will.
bool DnsStream::receive() {
  if (input_ended_ || !guest_.valid()) return false;
  std::array<std::uint8_t, 4096> buffer;
  ssize_t count = 0;
  do {
    count = ::recv(guest_.get(), buffer.data(), buffer.size(), 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno != EAGAIN) finish();
    return false;
  }
  input_ended_ = count == 0;
  received_.insert(received_.end(), buffer.begin(), buffer.begin() + count);
  return true;
}

// False: none is there whole.
bool DnsStream::take_message() {
  if (received_.size() < 2) return false;
  const std::size_t length = (static_cast<std::size_t>(received_[0]) << 8) | received_[1];
  if (length > kMaxQuery) {
    finish();
    return false;
  }
  if (received_.size() < 2 + length) return false;
  restart_idle_timer();
  ++open_questions_;
  resolver_.serve(Bytes(received_).subspan(2, length), wire::dns::Carrier::tcp, [self = self_](Bytes response) {
    if (*self != nullptr) (*self)->send(response);
  });
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(2 + length));
  return true;
}

// The answers of a round go out together.
void DnsStream::send(Bytes message) {
  if (!guest_.valid()) return;
  --open_questions_;
  continue_later();
  if (message.empty()) return;
  if (unsent_.size() + message.size() > kMaxUnsent) flush();
  if (unsent_.size() + message.size() > kMaxUnsent) return finish();
  unsent_.push_back(static_cast<std::uint8_t>(message.size() >> 8));
  unsent_.push_back(static_cast<std::uint8_t>(message.size()));
  unsent_.insert(unsent_.end(), message.begin(), message.end());
}

void DnsStream::flush() {
  // The guest learns nothing before its question is on record.
  if (unsent_.empty() || !resolver_.flush_records()) return;
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
  reactor_.cancel(std::exchange(continuation_, 0));
  resolver_.stream_ended(*this);
}

}  // namespace weir::gateway
