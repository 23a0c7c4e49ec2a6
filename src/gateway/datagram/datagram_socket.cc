#include "gateway/datagram/datagram_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "sys/socket_address.h"

namespace weir::gateway {

namespace {

// Segments longer than the path's MTU, or a device that cannot: no fault of one datagram.
bool is_about_cutting(int error) {
  return error == EINVAL || error == EMSGSIZE || error == EIO || error == ENOPROTOOPT;
}

// The size of each of several datagrams that were read at once; 0 for one.
std::size_t segment_of(const msghdr& header) {
  const cmsghdr* item = CMSG_FIRSTHDR(&header);
  int size = 0;
  if (item == nullptr || item->cmsg_level != IPPROTO_UDP || item->cmsg_type != UDP_GRO) return 0;
  std::memcpy(&size, CMSG_DATA(item), sizeof size);
  return size < 0 ? 0 : static_cast<std::size_t>(size);
}

}  // namespace

bool DatagramSocket::send(Bytes message) {
  if (message.size() > segment_) set_segment(0);
  if (try_send(message)) return true;
  if (segment_ == 0 || !is_about_cutting(errno)) return false;
  stop_cutting(segment_);
  return try_send(message);
}

DatagramSocket::Sent DatagramSocket::send_cut(Bytes messages, std::size_t size) {
  if (size > longest_segment_) return Sent::one_by_one;
  if (set_segment(size) && try_send(messages)) return Sent::yes;
  if (errno == EAGAIN || errno == ENOBUFS) return Sent::lost;
  if (is_about_cutting(errno)) stop_cutting(size);
  return Sent::one_by_one;
}

void DatagramSocket::stop_cutting(std::size_t size) {
  longest_segment_ = size - 1;
  set_segment(0);
}

bool DatagramSocket::set_segment(std::size_t size) {
  if (segment_ == size) return true;
  const int value = static_cast<int>(size);
  if (::setsockopt(fd_.get(), IPPROTO_UDP, UDP_SEGMENT, &value, sizeof value) != 0) return false;
  segment_ = size;
  return true;
}

bool DatagramSocket::try_send(Bytes message) {
  return ::sendto(fd_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0) >= 0;
}

std::optional<DatagramSocket::Received> DatagramSocket::receive(MutableBytes buffer) {
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> control;
  sys::SocketAddress from;
  msghdr header{};
  header.msg_name = from.get();
  header.msg_namelen = from.size;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT);
  if (size < 0) return std::nullopt;
  return Received{
      .messages = buffer.first(static_cast<std::size_t>(size)), .segment = segment_of(header), .from = from.endpoint()};
}

}  // namespace weir::gateway
