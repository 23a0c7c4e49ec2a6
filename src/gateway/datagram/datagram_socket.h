// A connected socket of datagrams, and how several are sent through it at once: the kernel cuts them apart
// (UDP_SEGMENT, 4.18). How they are read: ReceiveBatch.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "sys/owned_fd.h"

namespace weir::gateway {

class DatagramSocket {
 public:
  // `longest_segment`: 0 where the kernel cuts nothing (ping sockets).
  DatagramSocket(sys::OwnedFd fd, std::size_t longest_segment)
      : fd_(std::move(fd)), longest_segment_(longest_segment) {}

  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

  // One datagram to the peer, never to an address: it is the only one this process may send to (confine.cc). False:
  // errno says why not.
  bool send(Bytes message);
  // Several of one size (the last may be shorter). lost: the kernel has no room. one_by_one: they have to be sent so.
  enum class Sent : std::uint8_t { yes, lost, one_by_one };
  Sent send_cut(Bytes messages, std::size_t size);
  // Longer ones cannot be cut from several: they must fit the path's MTU.
  std::size_t longest_segment() const { return longest_segment_; }

 private:
  bool set_segment(std::size_t size);
  void stop_cutting(std::size_t size);
  bool try_send(Bytes message);

  sys::OwnedFd fd_;
  // UDP_SEGMENT as it is set: also a single datagram that is longer would be cut.
  std::size_t segment_ = 0;
  std::size_t longest_segment_;
};

}  // namespace weir::gateway
