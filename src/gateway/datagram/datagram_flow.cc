#include "gateway/datagram/datagram_flow.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "sys/errno.h"
#include "sys/socket_address.h"

namespace weir::gateway {

namespace {

// Datagrams of one flow in a row before the others get their turn.
constexpr int kDatagramsPerTurn = 32;
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
      socket_(std::move(socket)),
      last_activity_ms_(context.reactor.now_ms()) {}

Result<> DatagramFlow::start() {
  sys::SocketAddress peer;
  if (::getpeername(socket_.get(), peer.get(), &peer.size) != 0 || !peer.endpoint())
    return sys::errno_error("a socket of datagrams is not connected");
  peer_ = peer.endpoint()->address;
  return context_.reactor.watch(socket_.get(), EPOLLIN, *this);
}

// An error that came back for an earlier datagram fails the next send, whatever it sends: that one is tried once more.
void DatagramFlow::send(Bytes message) {
  last_activity_ms_ = context_.reactor.now_ms();
  if (try_send(message)) return;
  if (is_icmp_answer(errno)) {
    read_errors();
    if (try_send(message)) return;
  }
  if (errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE) return;
  count_.error = errno;
  tell_guest(message, refusal_for(static_cast<std::uint32_t>(errno)));
}

// Never to an address: the socket's peer is the only one this process may send to (confine.cc).
bool DatagramFlow::try_send(Bytes message) {
  if (::sendto(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0) < 0)
    return false;
  count_.bytes_up += payload_size(key_.protocol, message);
  return true;
}

void DatagramFlow::on_events(std::uint32_t events) {
  if ((events & EPOLLERR) != 0) read_errors();
  if ((events & EPOLLIN) != 0) receive();
}

void DatagramFlow::receive() {
  for (int i = 0; i < kDatagramsPerTurn; ++i) {
    sys::SocketAddress from;
    const bool echo = key_.protocol == net::Protocol::icmp;
    const ssize_t size = ::recvfrom(socket_.get(), context_.received.data(), context_.received.size(), MSG_DONTWAIT,
                                    echo ? from.get() : nullptr, echo ? &from.size : nullptr);
    if (size < 0) return;  // an error that queued is an event of its own
    // Whoever guesses its identifier can write to a ping socket.
    if (echo && (!from.endpoint() || from.endpoint()->address != peer_)) continue;
    take(Bytes(context_.received).first(static_cast<std::size_t>(size)));
  }
}

void DatagramFlow::take(Bytes message) {
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
  const ssize_t size = ::recvmsg(socket_.get(), &header, MSG_ERRQUEUE | MSG_DONTWAIT);
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
