#include "gateway/tcp/relay.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weir::gateway {

namespace {

// Two full buffers in a row: this is bulk, and splice saves both copies.
constexpr unsigned kBulkReads = 2;
// A splice that found less says that it is bulk no more. An empty source says nothing: a fast flow empties it often.
constexpr std::size_t kSmallSplice = RelayContext::kBuffer / 4;
// Bytes one direction may move before the other flows get their turn.
constexpr std::size_t kBudget = 16 * RelayContext::kBuffer;
// A gate sees at most this much before it must have decided: 64 KiB of ClientHello or request head, and its records.
constexpr std::size_t kMaxHeld = 96 * 1024;
// The turn of a held flow: a judgement reads a buffer at most.
constexpr std::size_t kJudgementsPerRun = 4;

bool would_block(int code) {
  return code == EAGAIN || code == EINTR;
}

}  // namespace

void clear_linger(int socket) {
  const linger none{.l_onoff = 0, .l_linger = 0};
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

void Relay::Leg::on_events(std::uint32_t events) {
  constexpr std::uint32_t kReadable = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  constexpr std::uint32_t kWritable = EPOLLOUT | EPOLLHUP | EPOLLERR;
  constexpr std::uint32_t kReadOn = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
  if ((events & kReadable) != 0) readable = true;
  if ((events & kReadOn) != 0) thorough = true;
  if ((events & EPOLLRDHUP) != 0) closed = true;
  if ((events & kWritable) != 0) writable = true;
  relay.run();
}

Relay::Relay(RelayContext& context, Meter& meter, sys::OwnedFd guest, sys::OwnedFd upstream, std::unique_ptr<Gate> gate,
             OnEnd on_end)
    : context_(context),
      guest_(*this, std::move(guest)),
      upstream_(*this, std::move(upstream)),
      up_(guest_, upstream_, meter, Way::up),
      down_(upstream_, guest_, meter, Way::down),
      gate_(std::move(gate)),
      on_end_(std::move(on_end)),
      last_activity_ms_(context.reactor.now_ms()) {
  Meter::Account& account = meter.account_of(upstream_.fd.get());
  up_.allowance.begin(account);
  down_.allowance.begin(account);
}

Relay::~Relay() {
  context_.reactor.cancel(continuation_);
  context_.reactor.cancel(up_.turn);
  context_.reactor.cancel(down_.turn);
  context_.held -= early_.size();
  release_held(held_.size());
  return_pipe(up_);
  return_pipe(down_);
}

void Relay::begin_with(Bytes received) {
  early_.assign(received.begin(), received.end());
  context_.held += early_.size();
  guest_.readable = !early_.empty();
}

Result<> Relay::start() {
  if (context_.held > RelayContext::kMaxHeld) return fail("too much is held");
  constexpr std::uint32_t kEverything = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  WEIR_CHECK_OK(context_.reactor.watch(guest_.fd.get(), kEverything, guest_));
  return context_.reactor.watch(upstream_.fd.get(), kEverything, upstream_);
}

void Relay::abort(int error) {
  finish(error);
}

void Relay::gate_answered(const control::FlightAnswer& answer) {
  if (gate_ == nullptr) return;
  gate_->on_answer(answer);
  run();
}

void Relay::drain() {
  draining_ = true;
  run();
}

void Relay::run() {
  if (ended_) return;
  last_activity_ms_ = context_.reactor.now_ms();
  if (gate_ != nullptr && !run_gate()) return;
  const Progress up = gate_ == nullptr ? pump(up_) : Progress::stuck;
  if (up == Progress::failed) return finish(error_);
  const Progress down = pump(down_);
  if (down == Progress::failed) return finish(error_);
  if (up_.sink_shut && (down_.sink_shut || draining_)) {
    clear_linger(guest_.fd.get());
    clear_linger(upstream_.fd.get());
    return finish(0);
  }
  if (up == Progress::budget_spent || down == Progress::budget_spent) continue_later();
}

// Runs again in the next round, after the other flows had their turn.
void Relay::continue_later() {
  if (continuation_ != 0) return;
  continuation_ = context_.reactor.at(context_.reactor.now_ms(), [this] {
    continuation_ = 0;
    run();
  });
}

// Moves until the source is empty, the sink is full, or the budget is spent.
Relay::Progress Relay::pump(Direction& direction) {
  const std::uint64_t start = direction.bytes;
  while (!direction.sink_shut) {
    if (!flush(direction)) {
      direction.allowance.rest();
      return error_ != 0 ? Progress::failed : Progress::stuck;
    }
    if (direction.source_ended) {
      pass_end(direction);
      return Progress::stuck;
    }
    if (!direction.source.readable) {
      direction.allowance.rest();
      return_pipe(direction);
      return Progress::stuck;
    }
    if (direction.bytes - start >= kBudget) return Progress::budget_spent;
    const std::size_t most = room(direction);
    if (error_ != 0) return Progress::failed;
    if (direction.source_ended || !direction.source.readable) continue;
    if (most == 0) return Progress::stuck;
    const bool bulk = direction.full_reads >= kBulkReads;
    const bool moved = bulk ? move_by_splice(direction, most) : move_by_copy(direction, most);
    if (!moved && error_ != 0) return Progress::failed;
  }
  return Progress::stuck;
}

// How much may be read now. 0: there is nothing, or its turn comes later, or the quota is used up.
std::size_t Relay::room(Direction& direction) {
  const Allowance::Room room = direction.allowance.room(context_.reactor.now_ms());
  if (room.bytes > 0) return static_cast<std::size_t>(std::min<std::uint64_t>(room.bytes, SIZE_MAX));
  if (!has_more(direction)) {
    direction.allowance.rest();  // nobody waits behind what has nothing to move
  } else if (room.used_up) {
    used_up_ = room.used_up;
    error_ = EDQUOT;
  } else {
    wait_for_turn(direction, room.wait_ms);
  }
  return 0;
}

void Relay::wait_for_turn(Direction& direction, std::uint64_t wait_ms) {
  return_pipe(direction);
  if (direction.turn != 0) return;
  direction.turn = context_.reactor.at(context_.reactor.now_ms() + wait_ms, [this, &direction] {
    direction.turn = 0;
    run();
  });
}

// Whether there is a byte, which may not be read now. The end of the stream is none.
bool Relay::has_more(Direction& direction) {
  if (&direction == &up_ && !early_.empty()) return true;
  std::uint8_t byte = 0;
  const ssize_t more = ::recv(direction.source.fd.get(), &byte, 1, MSG_PEEK);
  if (more < 0) return source_failed(direction);
  direction.source_ended = more == 0;
  return more > 0;
}

// True when nothing is left between source and sink.
bool Relay::flush(Direction& direction) {
  if (direction.in_pipe > 0 && !drain_pipe(direction)) return false;
  if (direction.pending.empty()) return true;
  if (!direction.sink.writable) return false;
  const Bytes rest = Bytes(direction.pending).subspan(direction.pending_offset);
  const ssize_t sent = ::write(direction.sink.fd.get(), rest.data(), rest.size());
  if (sent < 0) {
    if (!would_block(errno)) error_ = errno;
    direction.sink.writable = false;
    return false;
  }
  direction.bytes += static_cast<std::uint64_t>(sent);
  direction.pending_offset += static_cast<std::size_t>(sent);
  if (direction.pending_offset < direction.pending.size()) return false;
  std::vector<std::uint8_t>().swap(direction.pending);  // an idle flow holds no buffer
  direction.pending_offset = 0;
  return true;
}

// As recv() from the guest does, of what was received before.
ssize_t Relay::take_early(std::size_t most) {
  const std::size_t count = std::min(most, early_.size());
  std::copy_n(early_.begin(), count, context_.buffer.begin());
  context_.held -= count;
  early_.erase(early_.begin(), early_.begin() + static_cast<std::ptrdiff_t>(count));
  return static_cast<ssize_t>(count);
}

bool Relay::move_by_copy(Direction& direction, std::size_t most) {
  const std::size_t asked = std::min(context_.buffer.size(), most);
  const bool early = &direction == &up_ && !early_.empty();
  const ssize_t received =
      early ? take_early(asked) : ::recv(direction.source.fd.get(), context_.buffer.data(), asked, 0);
  if (received < 0) return source_failed(direction);
  if (received == 0) {
    direction.source_ended = true;
    return true;
  }
  const auto count = static_cast<std::size_t>(received);
  direction.allowance.used(count);
  direction.full_reads = count == context_.buffer.size() ? direction.full_reads + 1 : 0;
  if (count < asked && !direction.source.thorough && !early) direction.source.readable = false;
  const Bytes bytes = Bytes(context_.buffer).first(count);
  if (&direction == &down_ && gate_ != nullptr && gate_->on_reply(bytes)) continue_later();
  return deliver(direction, bytes);
}

bool Relay::deliver(Direction& direction, Bytes bytes) {
  std::size_t sent = 0;
  if (direction.sink.writable) {
    // Behind the bytes of a peer that has ended stand others or the end, which the next call sends along: one segment,
    // one wake-up. write() elsewhere: the filter looks at the arguments of send().
    const int sink = direction.sink.fd.get();
    const ssize_t count = direction.source.closed ? ::send(sink, bytes.data(), bytes.size(), MSG_MORE | MSG_NOSIGNAL)
                                                  : ::write(sink, bytes.data(), bytes.size());
    if (count < 0 && !would_block(errno)) {
      error_ = errno;
      return false;
    }
    sent = count < 0 ? 0 : static_cast<std::size_t>(count);
    if (sent < bytes.size()) direction.sink.writable = false;
  }
  direction.bytes += sent;
  direction.pending.assign(bytes.begin() + static_cast<std::ptrdiff_t>(sent), bytes.end());
  direction.pending_offset = 0;
  return true;
}

bool Relay::move_by_splice(Direction& direction, std::size_t most) {
  if (!direction.pipe) direction.pipe = context_.pipes.borrow();
  if (!direction.pipe) {
    direction.full_reads = 0;
    return move_by_copy(direction, most);
  }
  // The pipe is empty here, so EAGAIN means that the source is.
  const ssize_t moved = ::splice(direction.source.fd.get(), nullptr, direction.pipe->write_end.get(), nullptr,
                                 std::min(direction.pipe->capacity, most), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (moved < 0) return source_failed(direction);
  if (moved == 0) {
    direction.source_ended = true;
    return true;
  }
  direction.in_pipe = static_cast<std::size_t>(moved);
  direction.allowance.used(direction.in_pipe);
  if (direction.in_pipe < kSmallSplice) direction.full_reads = 0;
  return drain_pipe(direction) || error_ == 0;
}

// True when the pipe is empty.
bool Relay::drain_pipe(Direction& direction) {
  while (direction.in_pipe > 0) {
    if (!direction.sink.writable) return false;
    const ssize_t moved = ::splice(direction.pipe->read_end.get(), nullptr, direction.sink.fd.get(), nullptr,
                                   direction.in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved <= 0) {
      if (moved == 0 || !would_block(errno)) error_ = moved == 0 ? EPIPE : errno;
      direction.sink.writable = false;
      return false;
    }
    direction.in_pipe -= static_cast<std::size_t>(moved);
    direction.bytes += static_cast<std::uint64_t>(moved);
  }
  return true;
}

void Relay::return_pipe(Direction& direction) {
  if (!direction.pipe) return;
  if (direction.in_pipe == 0) {
    context_.pipes.give_back(std::move(*direction.pipe));
  } else {
    context_.pipes.lost();
  }
  direction.pipe.reset();
  direction.in_pipe = 0;
}

// False; the error is kept unless the source is merely empty.
bool Relay::source_failed(Direction& direction) {
  if (!would_block(errno)) error_ = errno;
  direction.source.readable = false;
  return false;
}

void Relay::pass_end(Direction& direction) {
  return_pipe(direction);
  direction.sink_shut = true;
  // The second end is told by the close that follows.
  if (up_.sink_shut && down_.sink_shut) return;
  // Fails only when the sink is gone already, which its own direction reports.
  if (::shutdown(direction.sink.fd.get(), SHUT_WR) != 0 && errno != ENOTCONN && error_ == 0) error_ = errno;
}

// False when the relay is over. Afterwards either the gate is gone, or it waits for bytes, an answer or the sink.
bool Relay::run_gate() {
  for (std::size_t judged = 0; gate_ != nullptr; ++judged) {
    if (judged == kJudgementsPerRun) {
      continue_later();
      return true;
    }
    if (!flush(up_)) {
      if (error_ != 0) finish(error_);
      return error_ == 0;
    }
    if (guest_.readable && !up_.source_ended && held_.size() < kMaxHeld && !receive_held()) return false;
    const std::size_t before = held_.size();
    if (!apply(up_.source_ended ? gate_->judge_end(held_) : gate_->judge(held_))) return false;
    const bool passed = held_.size() < before;
    const bool later = !guest_.readable || up_.turn != 0;
    if (!passed && (later || up_.source_ended || held_.size() >= kMaxHeld)) break;
  }
  if (gate_ != nullptr && up_.turn == 0) up_.allowance.rest();
  return true;
}

// Reads once from the guest into what is held. False when the relay is over.
bool Relay::receive_held() {
  const std::size_t allowed = room(up_);
  if (error_ != 0) finish(error_);
  if (allowed == 0) return error_ == 0;
  const std::size_t most = std::min({context_.buffer.size(), kMaxHeld - held_.size(), allowed});
  const bool early = !early_.empty();
  const ssize_t received = early ? take_early(most) : ::recv(guest_.fd.get(), context_.buffer.data(), most, 0);
  if (received < 0) {
    source_failed(up_);
    if (error_ != 0) finish(error_);
    return error_ == 0;
  }
  if (received == 0) up_.source_ended = true;
  const auto count = static_cast<std::size_t>(received);
  if (context_.held + count > RelayContext::kMaxHeld) {
    finish(ENOBUFS);
    return false;
  }
  up_.allowance.used(count);
  context_.held += count;
  held_.insert(held_.end(), context_.buffer.begin(), context_.buffer.begin() + received);
  return true;
}

// What passed leaves the front; a flow that holds nothing keeps no buffer.
void Relay::release_held(std::size_t count) {
  context_.held -= count;
  if (count == held_.size()) return std::vector<std::uint8_t>().swap(held_);
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
}

// False when the relay is over.
bool Relay::apply(Gate::Step step) {
  switch (step.decision) {
    case Gate::Decision::need_more:
    case Gate::Decision::waiting:
      return true;
    case Gate::Decision::refuse:
      finish(ECONNABORTED);
      return false;
    case Gate::Decision::pass:
    case Gate::Decision::open:
      break;
  }
  const bool opened = step.decision == Gate::Decision::open;
  const std::size_t count = opened ? held_.size() : step.count;
  up_.pending.insert(up_.pending.end(), held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
  release_held(count);
  if (opened) gate_.reset();
  return true;
}

void Relay::finish(int error) {
  if (ended_) return;
  ended_ = true;
  const End end{.bytes_up = up_.bytes, .bytes_down = down_.bytes, .error = error, .used_up = used_up_};
  // The supervisor's copy of the upstream socket may still be open, so closing alone would not end the watch.
  context_.reactor.forget(upstream_.fd.get());
  // What the linger option says now decides between FIN and RST.
  guest_.fd.reset();
  upstream_.fd.reset();
  on_end_(*this, end);
}

}  // namespace weir::gateway
