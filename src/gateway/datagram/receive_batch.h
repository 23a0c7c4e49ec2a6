// Datagrams read from a socket with one call.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "sys/socket_address.h"

namespace weir::gateway {

class ReceiveBatch {
 public:
  static constexpr std::size_t kMost = 16;

  struct Message {
    Bytes bytes;              // of one datagram, or of several that the kernel has put together (UDP_GRO)
    std::size_t segment = 0;  // of several: the size of all but perhaps the last; else 0
    const sys::SocketAddress* from = nullptr;
  };

  ReceiveBatch();
  ReceiveBatch(const ReceiveBatch&) = delete;
  ReceiveBatch& operator=(const ReceiveBatch&) = delete;

  // What waits in `socket`, without waiting, at most `most` (from 1 to kMost) at a time. Empty: errno says why. The
  // messages live until the next call.
  std::span<const Message> read(int socket, std::size_t most = kMost);

 private:
  // As much as UDP_GRO puts together. The memory of what was never that long is never touched.
  static constexpr std::size_t kRoom = 65536;

  struct alignas(cmsghdr) Control {
    std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> bytes;
  };

  std::unique_ptr<std::uint8_t[]> room_;
  std::array<iovec, kMost> parts_{};
  std::array<Control, kMost> controls_{};
  std::array<sys::SocketAddress, kMost> senders_{};
  std::array<mmsghdr, kMost> headers_{};
  std::array<Message, kMost> messages_{};
};

}  // namespace weir::gateway
