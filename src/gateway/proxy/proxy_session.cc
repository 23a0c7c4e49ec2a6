#include "gateway/proxy/proxy_session.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

namespace weir::gateway {

ProxySession::ProxySession(ProxyContext& context, sys::OwnedFd guest, const net::Endpoint& proxy, control::Entry entry)
    : context_(context), guest_(std::move(guest)), proxy_(proxy), entry_(entry) {}

ProxySession::~ProxySession() {
  context_.dials.cancel(dial_);
  context_.reactor.cancel(deadline_);
  context_.reactor.cancel(continuation_);
}

void ProxySession::start(std::uint64_t patience_ms) {
  set_deadline(patience_ms);
  if (!context_.reactor.watch(guest_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this)) end();
}

void ProxySession::on_events(std::uint32_t events) {
  // While closing a hang-up is only the second half of it.
  if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && !closing_)) return end();
  if ((events & EPOLLRDHUP) != 0) guest_shut_ = true;
  run();
}

void ProxySession::run() {
  if (running_) return;  // an answer that came at once, from within a turn
  running_ = true;
  unsigned turns = 0;
  while (!ended_ && flush() && turns < kTurnsPerRun && (closing_ ? finish_closing() : proceed()) == Turn::again)
    ++turns;
  running_ = false;
  if (!ended_ && turns == kTurnsPerRun) continue_later();
}

void ProxySession::continue_later() {
  if (continuation_ != 0) return;
  continuation_ = context_.reactor.at(context_.reactor.now_ms(), [this] {
    continuation_ = 0;
    run();
  });
}

void ProxySession::use(std::size_t count) {
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(count));
}

bool ProxySession::receive(std::size_t room) {
  if (input_ended_ || received_.size() >= room) return false;
  const std::size_t most = std::min(room - received_.size(), context_.buffer.size());
  ssize_t count = 0;
  do {
    count = ::recv(guest_.get(), context_.buffer.data(), most, 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno != EAGAIN) end();
    return false;
  }
  input_ended_ = count == 0;
  received_.insert(received_.end(), context_.buffer.begin(), context_.buffer.begin() + count);
  return true;
}

void ProxySession::say(Bytes bytes) {
  unsaid_.append(as_text(bytes));
}

bool ProxySession::flush() {
  if (unsaid() == 0) return true;
  // The guest learns nothing before it is on record.
  if (!context_.link.flush()) return false;
  while (unsaid() > 0) {
    const ssize_t count = ::send(guest_.get(), unsaid_.data() + said_, unsaid(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      if (errno != EAGAIN) end();
      return false;
    }
    said_ += static_cast<std::size_t>(count);
  }
  std::string().swap(unsaid_);
  said_ = 0;
  return true;
}

void ProxySession::close_orderly() {
  closing_ = true;
  set_deadline(context_.idle_timeout_ms);  // for what was said to leave
}

// A close with unread input would be a reset, which may overtake the reply: read until the guest has seen it.
ProxySession::Turn ProxySession::finish_closing() {
  if (!std::exchange(shut_, true)) {
    ::shutdown(guest_.get(), SHUT_WR);
    set_deadline(kLingerMs);
  }
  received_.clear();
  if (!input_ended_) return receive() ? Turn::again : Turn::wait;
  clear_linger(guest_.get());
  end();
  return Turn::wait;
}

void ProxySession::dial(wire::Authority target) {
  context_.reactor.cancel(std::exchange(deadline_, 0));  // the resolver and the supervisor have their own
  dial_ = context_.dials.start(entry_, std::move(target), [this](ProxyDialled result) {
    dial_ = 0;
    dialled(std::move(result));
    run();
  });
}

void ProxySession::hand_over(ProxyDialled& connection, net::Port port) {
  if (!flush()) {
    // What is said here is less than any socket buffer; a guest that left no room for it does not want it.
    end();
    context_.link.send(
        control::FlowClosed{.flow = connection.flow, .bytes_up = 0, .bytes_down = 0, .error = ECANCELED});
    return;
  }
  context_.reactor.forget(guest_.get());
  context_.flows.adopt({.flow = connection.flow,
                        .guest = std::move(guest_),
                        .upstream = std::move(connection.upstream),
                        .first_flight = connection.hold ? FlowTable::FirstFlight::held : FlowTable::FirstFlight::free,
                        .port = port},
                       input());
  end();
}

void ProxySession::hand_to_resolver() {
  if (!flush()) return end();
  context_.reactor.forget(guest_.get());
  context_.resolver.serve_stream(std::move(guest_), input());
  end();
}

void ProxySession::record_fault(policy::Reason reason) {
  const auto via = entry_ == control::Entry::http ? control::Refused::Via::http : control::Refused::Via::socks;
  context_.link.send(control::Refused{.via = via, .destination = proxy_, .reason = static_cast<std::uint8_t>(reason)});
}

void ProxySession::set_deadline(std::uint64_t after_ms) {
  context_.reactor.cancel(deadline_);
  // An idle timeout may be "never" (mode open).
  const std::uint64_t now = context_.reactor.now_ms();
  const std::uint64_t latest = std::numeric_limits<std::uint64_t>::max();
  deadline_ = context_.reactor.at(after_ms > latest - now ? latest : now + after_ms, [this] {
    deadline_ = 0;
    if (!closing_) return deadline_passed();
    // All was said: a guest that reads slowly gets it from the kernel, and no reset.
    if (shut_ && unsaid() == 0) clear_linger(guest_.get());
    end();
  });
}

void ProxySession::deadline_passed() {
  record_fault(policy::Reason::malformed);
  end();
}

void ProxySession::end() {
  if (std::exchange(ended_, true)) return;
  context_.dials.cancel(std::exchange(dial_, 0));
  context_.reactor.cancel(std::exchange(deadline_, 0));
  context_.reactor.cancel(std::exchange(continuation_, 0));
  if (guest_.valid()) context_.reactor.forget(guest_.get());
  guest_.reset();
  released();
  context_.on_end(*this);
}

}  // namespace weir::gateway
