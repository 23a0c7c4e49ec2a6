#include "gateway/datagram/datagram_flow.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sys/errno.h"
#include "sys/socket_address.h"

namespace weir::gateway {

namespace {

// Datagrams of one flow in a row before the others get their turn.
constexpr std::size_t kDatagramsPerTurn = 64;
constexpr int kErrorsPerTurn = 16;

bool is_icmp_answer(int error) {
  return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EACCES ||
         error == ENOPROTOOPT || error == EMSGSIZE;
}

}  // namespace

DatagramFlow::DatagramFlow(DatagramContext& context, const DatagramKey& key, std::uint64_t number, sys::OwnedFd socket)
    : context_(context),
      key_(key),
      number_(number),
      socket_(std::move(socket), key.protocol == net::Protocol::udp ? wire::kMaxPacket : 0),
      last_activity_ms_(context.reactor.now_ms()) {}

Result<> DatagramFlow::start() {
  sys::SocketAddress peer;
  if (::getpeername(socket_.fd(), peer.get(), &peer.size) != 0 || !peer.endpoint())
    return sys::errno_error("a socket of datagrams is not connected");
  peer_ = peer.endpoint()->address;
  account_ = &context_.meter.account(peer_);
  return context_.reactor.watch(socket_.fd(), EPOLLIN, *this);
}

// What a limit of the policy does not let pass is lost; the guest hears of a quota.
void DatagramFlow::send(Bytes message) {
  last_activity_ms_ = context_.reactor.now_ms();
  const Meter::Passage passage = pass(Way::up, message);
  if (passage == Meter::Passage::used_up) tell_guest(message, wire::Refusal::prohibited);
  if (passage != Meter::Passage::free) return;
  Train& train = context_.train;
  // What cannot be cut from a longer one goes alone, behind what was before it.
  const bool alone = message.empty() || message.size() > socket_.longest_segment();
  if (!train.empty() && (alone || !train.takes(*this, message))) train.flow()->send_train();
  if (alone) return send_one(message);
  train.add(*this, message);
}

// Of an echo its header too: the guest chooses the sequence number.
Meter::Passage DatagramFlow::pass(Way way, Bytes message) {
  const Meter::Passage passage = context_.meter.pass(way, *account_, message.size(), context_.reactor.now_ms());
  if (passage == Meter::Passage::used_up && !std::exchange(told_of_quota_, true))
    context_.meter.report(context_.meter.left(way, *account_).limit, number_);
  return passage;
}

void DatagramFlow::send_train() {
  Train& train = context_.train;
  const Bytes all = train.bytes();
  if (train.cars() == 1 || !send_cut(all, train.car())) {
    for (Bytes rest = all; !rest.empty(); rest = rest.subspan(std::min(train.car(), rest.size())))
      send_one(rest.first(std::min(train.car(), rest.size())));
  }
  train.clear();
}

// False: they have to go one by one.
bool DatagramFlow::send_cut(Bytes messages, std::size_t size) {
  const DatagramSocket::Sent sent = socket_.send_cut(messages, size);
  if (sent == DatagramSocket::Sent::yes) count_.bytes_up += payload_size(key_.protocol, messages);
  return sent != DatagramSocket::Sent::one_by_one;
}

void DatagramFlow::end() {
  if (context_.train.flow() == this) send_train();
  // The supervisor's copy may still be open, so closing alone would not end the watch.
  context_.reactor.forget(socket_.fd());
  socket_.close();
}

void DatagramFlow::abort() {
  if (context_.train.flow() == this) context_.train.clear();
  end();
}

// An error that came back for an earlier datagram fails the next send, whatever it sends: that one is tried once more.
void DatagramFlow::send_one(Bytes message) {
  if (try_send(message)) return;
  if (is_icmp_answer(errno)) {
    read_errors();
    if (try_send(message)) return;
  }
  if (errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE) return;
  count_.error = errno;
  tell_guest(message, refusal_for(static_cast<std::uint32_t>(errno)));
}

bool DatagramFlow::try_send(Bytes message) {
  if (!socket_.send(message)) return false;
  count_.bytes_up += payload_size(key_.protocol, message);
  return true;
}

void DatagramFlow::on_events(std::uint32_t events) {
  if ((events & EPOLLERR) != 0) read_errors();
  if ((events & EPOLLIN) != 0) receive();
}

void DatagramFlow::receive() {
  for (std::size_t taken = 0; taken < kDatagramsPerTurn;) {
    const std::size_t some = receive_some();
    if (some == 0) return;  // an error that queued is an event of its own
    taken += some;
  }
}

// How many datagrams one call gave; 0 when none is left.
std::size_t DatagramFlow::receive_some() {
  std::size_t count = 0;
  for (const ReceiveBatch::Message& message : context_.received.read(socket_.fd())) {
    count += key_.protocol == net::Protocol::icmp ? take_echo(message) : take_all(message.bytes, message.segment);
  }
  return count;
}

// Whoever guesses its identifier can write to a ping socket.
std::size_t DatagramFlow::take_echo(const ReceiveBatch::Message& message) {
  const auto from = message.from->endpoint();
  if (from && from->address == peer_) take(message.bytes);
  return 1;
}

std::size_t DatagramFlow::take_all(Bytes messages, std::size_t segment) {
  std::size_t count = 0;
  do {
    const std::size_t size = segment == 0 ? messages.size() : std::min(segment, messages.size());
    take(messages.first(size));
    messages = messages.subspan(size);
    ++count;
  } while (!messages.empty());
  return count;
}

void DatagramFlow::take(Bytes message) {
  if (pass(Way::down, message) != Meter::Passage::free) return;
  const Bytes packet = packet_for_guest(key_, message, context_.packet);
  if (packet.empty()) return;
  last_activity_ms_ = context_.reactor.now_ms();
  count_.bytes_down += payload_size(key_.protocol, message);
  count_.error = 0;
  context_.tun.write(packet);
}

void DatagramFlow::read_errors() {
  for (int i = 0; i < kErrorsPerTurn && read_error(); ++i) {
  }
}

// False: none is left.
bool DatagramFlow::read_error() {
  std::array<std::uint8_t, 64> message;
  iovec part{.iov_base = message.data(), .iov_len = message.size()};
  alignas(cmsghdr) std::array<std::uint8_t, 256> control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket_.fd(), &header, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (size < 0) return false;
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    const bool v4 = item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_RECVERR;
    const bool v6 = item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_RECVERR;
    sock_extended_err error{};
    if ((!v4 && !v6) || item->cmsg_len < CMSG_LEN(sizeof error)) continue;
    std::memcpy(&error, CMSG_DATA(item), sizeof error);
    const auto how = refusal_of(error);
    if (!how) continue;
    count_.error = static_cast<int>(error.ee_errno);
    tell_guest(Bytes(message).first(static_cast<std::size_t>(size)), *how);
  }
  return true;
}

void DatagramFlow::tell_guest(Bytes message, wire::Refusal how) {
  if (const auto packet = wire::parse_packet(packet_of_guest(key_, message, context_.packet)))
    context_.refuser.answer(*packet, how);
}

}  // namespace weir::gateway
