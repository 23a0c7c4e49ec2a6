#include "gateway/inbound/datagram_pair.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "wire/packet.h"

namespace weir::gateway {

namespace {

// Datagrams of one side in a row before the others get their turn.
constexpr std::size_t kDatagramsPerTurn = 64;
constexpr int kErrorsPerTurn = 16;

}  // namespace

DatagramPair::Side::Side(DatagramPair& owner, sys::OwnedFd fd) : pair(owner), socket(std::move(fd), wire::kMaxPacket) {}

DatagramPair::DatagramPair(const Context& context, std::uint64_t flow, sys::OwnedFd client, sys::OwnedFd guest,
                           OnEnd on_end)
    : context_(context),
      flow_(flow),
      client_(*this, std::move(client)),
      guest_(*this, std::move(guest)),
      account_(context.meter.account_of(client_.socket.fd())),
      on_end_(std::move(on_end)),
      last_activity_ms_(context.reactor.now_ms()) {}

// The supervisor's copies may still be open, so closing alone would not end the watches.
DatagramPair::~DatagramPair() {
  context_.reactor.forget(client_.socket.fd());
  context_.reactor.forget(guest_.socket.fd());
}

Result<> DatagramPair::start() {
  WEIR_CHECK_OK(context_.reactor.watch(client_.socket.fd(), EPOLLIN | EPOLLRDHUP, client_));
  return context_.reactor.watch(guest_.socket.fd(), EPOLLIN | EPOLLRDHUP, guest_);
}

void DatagramPair::pass_in(Bytes message) {
  last_activity_ms_ = context_.reactor.now_ms();
  pass_one(guest_, message);
}

DatagramPair::End DatagramPair::finish() {
  if (!std::exchange(ended_, true)) {
    for (std::size_t taken = 0, some = 1; some != 0 && taken < kDatagramsPerTurn; taken += some)
      some = carry_some(guest_);
  }
  return abort(guest_.error != 0 ? guest_.error : client_.error);
}

DatagramPair::End DatagramPair::abort(int error) {
  ended_ = true;
  context_.reactor.forget(client_.socket.fd());
  context_.reactor.forget(guest_.socket.fd());
  return {.bytes_up = client_.sent, .bytes_down = guest_.sent, .error = error};
}

// A socket of datagrams is not at its end unless somebody shuts it; then it would be ready for ever.
void DatagramPair::on_events(Side& from, std::uint32_t events) {
  if (ended_) return;
  if ((events & EPOLLERR) != 0) forget_errors(from);
  carry(from);
  if (ended_ || (events & (EPOLLHUP | EPOLLRDHUP)) == 0) return;
  on_end_(abort(EPIPE));
}

// Nobody here asked for the queue (IP_RECVERR), but init shares the guest's socket, and could: ready for ever
// otherwise.
void DatagramPair::forget_errors(Side& from) {
  for (int i = 0; i < kErrorsPerTurn; ++i) {
    if (::recv(from.socket.fd(), nullptr, 0, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
  }
}

void DatagramPair::carry(Side& from) {
  for (std::size_t taken = 0; taken < kDatagramsPerTurn && !ended_;) {
    const std::size_t some = carry_some(from);
    if (some == 0) return;
    taken += some;
  }
}

// How many datagrams one call gave; 0 when none is left.
std::size_t DatagramPair::carry_some(Side& from) {
  const auto received = context_.received.read(from.socket.fd());
  if (received.empty()) {
    if (errno == EAGAIN || errno == EINTR) return 0;
    from.error = errno;  // what came back for something that was sent to it
    return 1;
  }
  last_activity_ms_ = context_.reactor.now_ms();
  from.error = 0;
  answered_ = answered_ || &from == &guest_;
  established_ = established_ || (answered_ && &from == &client_);
  std::size_t count = 0;
  for (const ReceiveBatch::Message& message : received) {
    pass(&from == &guest_ ? client_ : guest_, message.bytes, message.segment);
    count += message.segment == 0 ? 1 : message.bytes.size() / message.segment + 1;
  }
  return count;
}

// Together, if all of them may pass.
void DatagramPair::pass(Side& to, Bytes messages, std::size_t segment) {
  if (segment == 0 || messages.size() <= segment) return pass_one(to, messages);
  const Meter::Passage passage = context_.meter.pass(way_to(to), account_, messages.size(), context_.reactor.now_ms());
  const bool free = passage == Meter::Passage::free;
  if (free) {
    const DatagramSocket::Sent sent = to.socket.send_cut(messages, segment);
    if (sent == DatagramSocket::Sent::yes) to.sent += messages.size();
    if (sent != DatagramSocket::Sent::one_by_one) return;
  }
  for (Bytes rest = messages; !rest.empty(); rest = rest.subspan(std::min(segment, rest.size()))) {
    const Bytes message = rest.first(std::min(segment, rest.size()));
    free ? send_one(to, message) : pass_one(to, message);
  }
}

void DatagramPair::pass_one(Side& to, Bytes message) {
  const Way way = way_to(to);
  const Meter::Passage passage = context_.meter.pass(way, account_, message.size(), context_.reactor.now_ms());
  if (passage == Meter::Passage::free) return send_one(to, message);
  if (passage == Meter::Passage::used_up && !std::exchange(told_of_quota_, true))
    context_.meter.report(context_.meter.left(way, account_).limit, flow_);
}

// An error that came back for an earlier datagram fails the next send, whatever it sends: that one is tried once more.
// Nothing ends by an error: a port that is closed may be open a moment later.
void DatagramPair::send_one(Side& to, Bytes message) {
  bool sent = to.socket.send(message);
  if (!sent && errno != EAGAIN && errno != ENOBUFS && errno != EMSGSIZE) {
    to.error = errno;
    sent = to.socket.send(message);
  }
  if (sent) to.sent += message.size();
}

}  // namespace weir::gateway
