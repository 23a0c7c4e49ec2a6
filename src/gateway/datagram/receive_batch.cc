#include "gateway/datagram/receive_batch.h"

#include <netinet/udp.h>

#include <cstring>

namespace weir::gateway {

namespace {

// The size of each of several datagrams that were read at once; 0 for one.
std::size_t segment_of(const msghdr& header) {
  const cmsghdr* item = CMSG_FIRSTHDR(&header);
  int size = 0;
  if (item == nullptr || item->cmsg_level != IPPROTO_UDP || item->cmsg_type != UDP_GRO) return 0;
  std::memcpy(&size, CMSG_DATA(item), sizeof size);
  return size < 0 ? 0 : static_cast<std::size_t>(size);
}

}  // namespace

ReceiveBatch::ReceiveBatch() : room_(std::make_unique_for_overwrite<std::uint8_t[]>(kMost * kRoom)) {
  for (std::size_t i = 0; i < kMost; ++i) {
    parts_[i] = {.iov_base = room_.get() + i * kRoom, .iov_len = kRoom};
    headers_[i].msg_hdr.msg_iov = &parts_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
    headers_[i].msg_hdr.msg_name = senders_[i].get();
    headers_[i].msg_hdr.msg_control = controls_[i].bytes.data();
  }
}

std::span<const ReceiveBatch::Message> ReceiveBatch::read(int socket, std::size_t most) {
  for (mmsghdr& header : headers_) {
    header.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    header.msg_hdr.msg_controllen = sizeof(Control);
  }
  const int count = ::recvmmsg(socket, headers_.data(), static_cast<unsigned int>(most), MSG_DONTWAIT, nullptr);
  if (count <= 0) return {};
  const auto size = static_cast<std::size_t>(count);
  for (std::size_t i = 0; i < size; ++i) {
    senders_[i].size = headers_[i].msg_hdr.msg_namelen;
    messages_[i] = {.bytes = Bytes(room_.get() + i * kRoom, headers_[i].msg_len),
                    .segment = segment_of(headers_[i].msg_hdr),
                    .from = &senders_[i]};
  }
  return std::span<const Message>(messages_).first(size);
}

}  // namespace weir::gateway
