#include "gateway/packet_queue.h"

#include <algorithm>
#include <cstring>

#include "wire/packet.h"

namespace weir::gateway {

namespace {

// virtio 1.2, 5.1.6, in the order of the machine; the kernel's own header is no C++.
struct VirtioHeader {
  static constexpr std::uint8_t kNeedsChecksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM
  static constexpr std::uint8_t kWhole = 0;          // VIRTIO_NET_HDR_GSO_NONE
  static constexpr std::uint8_t kCutDatagrams = 5;   // VIRTIO_NET_HDR_GSO_UDP_L4

  std::uint8_t flags = 0;
  std::uint8_t gso_type = kWhole;
  std::uint16_t header_size = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == PacketQueue::kVirtioHeader);

std::size_t headers_size(net::Endpoint source) {
  return PacketQueue::kVirtioHeader + wire::udp_headers_size(source.address);
}

}  // namespace

bool PacketQueue::is_finished(Bytes frame) {
  VirtioHeader header;
  if (frame.size() <= sizeof header) return false;
  std::memcpy(&header, frame.data(), sizeof header);
  return header.gso_type == VirtioHeader::kWhole && (header.flags & VirtioHeader::kNeedsChecksum) == 0;
}

void PacketQueue::add(Bytes packet) {
  items_.push_back({.offset = bytes_.size(), .size = kVirtioHeader + packet.size(), .kind = Item::Kind::packet});
  bytes_.resize(bytes_.size() + kVirtioHeader);
  bytes_.insert(bytes_.end(), packet.begin(), packet.end());
}

void PacketQueue::add_datagram(net::Endpoint source, net::Endpoint destination, Bytes payload) {
  if (!items_.empty() && joins(items_.back(), source, destination, payload)) {
    bytes_.insert(bytes_.end(), payload.begin(), payload.end());
    items_.back().size += payload.size();
    ++items_.back().parts;
    return;
  }
  if (source.address.is_v4() != destination.address.is_v4()) return;
  const std::size_t headers = headers_size(source);
  if (headers - kVirtioHeader + payload.size() > wire::kMaxPacket) return;
  items_.push_back({.offset = bytes_.size(),
                    .size = headers + payload.size(),
                    .parts = 1,
                    .part_size = payload.size(),
                    .kind = Item::Kind::datagrams,
                    .source = source,
                    .destination = destination});
  bytes_.resize(bytes_.size() + headers);
  bytes_.insert(bytes_.end(), payload.begin(), payload.end());
}

// The last part may be shorter than the others, so behind a shorter one there is no other.
bool PacketQueue::joins(const Item& last, net::Endpoint source, net::Endpoint destination, Bytes payload) const {
  return last.kind == Item::Kind::datagrams && last.parts < most_parts_ && !payload.empty() &&
         payload.size() <= last.part_size && last.source == source && last.destination == destination &&
         last.size == headers_size(source) + last.parts * last.part_size &&
         last.size - kVirtioHeader + payload.size() <= wire::kMaxPacket;
}

void PacketQueue::clear() {
  bytes_.clear();
  items_.clear();
}

Bytes PacketQueue::frame(std::size_t index) {
  const Item& item = items_[index];
  const MutableBytes frame = MutableBytes(bytes_).subspan(item.offset, item.size);
  if (item.kind == Item::Kind::datagrams) write_headers(frame, item.source, item.destination, item.part_size);
  return frame;
}

Bytes PacketQueue::part(std::size_t index, std::size_t part) {
  const Item& item = items_[index];
  const std::size_t headers = headers_size(item.source);
  const Bytes all = Bytes(bytes_).subspan(item.offset, item.size).subspan(headers);
  const Bytes payload = all.subspan(part * item.part_size);
  const std::size_t size = std::min(payload.size(), item.part_size);
  single_.assign(headers, 0);
  single_.insert(single_.end(), payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(size));
  write_headers(single_, item.source, item.destination, size);
  return single_;
}

void PacketQueue::write_headers(MutableBytes frame, net::Endpoint source, net::Endpoint destination,
                                std::size_t part_size) {
  const std::size_t headers = headers_size(source);
  const std::size_t payload = frame.size() - headers;
  VirtioHeader header;
  header.flags = VirtioHeader::kNeedsChecksum;
  header.checksum_start = static_cast<std::uint16_t>(headers - kVirtioHeader - wire::kUdpHeaderSize);
  header.checksum_offset = wire::kUdpChecksumOffset;
  if (payload > part_size) {
    header.gso_type = VirtioHeader::kCutDatagrams;
    header.gso_size = static_cast<std::uint16_t>(part_size);
    header.header_size = static_cast<std::uint16_t>(headers - kVirtioHeader);
  }
  std::memcpy(frame.data(), &header, sizeof header);
  wire::udp_headers(source, destination, payload, frame.subspan(kVirtioHeader));
}

}  // namespace weir::gateway
