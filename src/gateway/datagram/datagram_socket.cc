#include "gateway/datagram/datagram_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>

namespace weir::gateway {

namespace {

// Segments longer than the path's MTU, or a device that cannot: no fault of one datagram.
bool is_about_cutting(int error) {
  return error == EINVAL || error == EMSGSIZE || error == EIO || error == ENOPROTOOPT;
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

}  // namespace weir::gateway
