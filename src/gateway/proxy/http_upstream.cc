#include "gateway/proxy/http_upstream.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "gateway/tcp/relay.h"

namespace weir::gateway {

HttpUpstream::HttpUpstream(sys::Reactor& reactor, Meter& meter, sys::OwnedFd socket, std::uint64_t flow,
                           wire::Authority origin, std::function<void()> on_event)
    : reactor_(reactor),
      socket_(std::move(socket)),
      flow_(flow),
      origin_(std::move(origin)),
      on_event_(std::move(on_event)),
      handler_([this](std::uint32_t) { on_event_(); }),
      up_(meter, Way::up),
      down_(meter, Way::down) {
  Meter::Account& account = meter.account_of(socket_.get());
  up_.allowance.begin(account);
  down_.allowance.begin(account);
}

HttpUpstream::~HttpUpstream() {
  reactor_.cancel(up_.turn);
  reactor_.cancel(down_.turn);
  if (!socket_.valid()) return;
  // The supervisor's copy of the socket may still be open, so closing alone would not end the watch.
  reactor_.forget(socket_.get());
  // A response that came to its end needs no reset.
  if (!response_ && error_ == 0) clear_linger(socket_.get());
}

void HttpUpstream::abort(int error) {
  error_ = error;
  reactor_.forget(socket_.get());
  socket_.reset();  // lingering {1,0}
}

bool HttpUpstream::start() {
  return reactor_.watch(socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, handler_).has_value();
}

void HttpUpstream::begin(std::string_view method, std::string head) {
  response_.emplace(method);
  unsent_ = std::move(head);
  answered_ = false;
  in_head_ = false;
}

Allowance::Room HttpUpstream::room(Course& course) {
  const Allowance::Room room = course.allowance.room(reactor_.now_ms());
  if (room.wait_ms > 0 && course.turn == 0) {
    course.turn = reactor_.at(reactor_.now_ms() + room.wait_ms, [this, &course] {
      course.turn = 0;
      on_event_();
    });
  }
  return room;
}

void HttpUpstream::over(policy::Limit limit) {
  used_up_ = limit;
  error_ = EDQUOT;
}

bool HttpUpstream::flush() {
  std::size_t sent = 0;
  while (sent < unsent_.size() && error_ == 0) {
    const Allowance::Room allowed = room(up_);
    if (allowed.used_up) over(*allowed.used_up);
    if (allowed.bytes == 0) break;
    const std::size_t most = std::min<std::uint64_t>(unsent_.size() - sent, allowed.bytes);
    const ssize_t count = ::send(socket_.get(), unsent_.data() + sent, most, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) error_ = errno;
    if (count < 0) break;
    up_.allowance.used(static_cast<std::uint64_t>(count));
    sent += static_cast<std::size_t>(count);
  }
  bytes_up_ += sent;
  unsent_.erase(0, sent);
  if (unsent_.empty()) up_.allowance.rest();
  return unsent_.empty();
}

// As recv() does. EAGAIN also where a rate holds it back, EDQUOT where a quota does: an end is not held back.
ssize_t HttpUpstream::read(MutableBytes buffer) {
  const Allowance::Room allowed = room(down_);
  const std::size_t most = std::min<std::uint64_t>(buffer.size(), allowed.bytes);
  if (most == 0 && !allowed.used_up) {
    errno = EAGAIN;
    return -1;
  }
  ssize_t count = 0;
  do {
    count =
        most > 0 ? ::recv(socket_.get(), buffer.data(), most, 0) : ::recv(socket_.get(), buffer.data(), 1, MSG_PEEK);
  } while (count < 0 && errno == EINTR);
  if (most == 0 && count > 0) {
    over(*allowed.used_up);
    errno = EDQUOT;
    return -1;
  }
  if (count > 0) down_.allowance.used(static_cast<std::uint64_t>(count));
  if (count < 0) down_.allowance.rest();
  return count;
}

HttpUpstream::Heard HttpUpstream::hear(MutableBytes buffer, wire::Persistence persistence, std::string& said) {
  const ssize_t count = read(buffer);
  if (count < 0 && errno == EAGAIN) return Heard::waiting;
  if (count < 0) {
    error_ = errno;
    return Heard::broken;
  }
  if (count == 0) {
    server_closes_ = true;
    if (!response_->whole_at_close()) return Heard::broken;
    response_.reset();
    return Heard::ended;
  }
  bytes_down_ += static_cast<std::uint64_t>(count);
  return take(Bytes(buffer).first(static_cast<std::size_t>(count)), persistence, said);
}

HttpUpstream::Heard HttpUpstream::take(Bytes bytes, wire::Persistence persistence, std::string& said) {
  using Event = wire::ResponseStream::Event;
  in_head_ = true;
  for (;;) {
    const auto step = response_->feed(bytes);
    said.append(as_text(bytes.first(step.pass)));
    bytes = bytes.subspan(step.consumed);
    switch (step.event) {
      case Event::none:
        return Heard::more;
      case Event::refused:
        return Heard::broken;
      case Event::end:
        down_.allowance.rest();
        // What comes behind a response before the next request is the answer to nothing.
        server_closes_ = server_closes_ || !bytes.empty();
        response_.reset();
        return Heard::ended;
      case Event::head:
        break;
    }
    const wire::ResponseHead& head = response_->head();
    const bool last = !head.interim();
    if (last) {
      server_closes_ = head.closes;
      closes_guest_ = head.framing == wire::BodyFraming::until_close;
      in_head_ = false;
    }
    const bool close = last && (closes_guest_ || persistence == wire::Persistence::close);
    said += wire::forward_response(response_->raw_head(), close ? wire::Persistence::close : wire::Persistence::keep);
    answered_ = true;
  }
}

void HttpUpstream::shut() {
  if (!std::exchange(shut_, true)) ::shutdown(socket_.get(), SHUT_WR);
}

bool HttpUpstream::sound() const {
  if (!reusable()) return false;
  std::uint8_t byte = 0;
  return ::recv(socket_.get(), &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

}  // namespace weir::gateway
