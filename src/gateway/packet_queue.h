// Packets on their way into weir0, each behind the virtio header that the device wants: frames.
//
// Checksums of UDP are left to the kernel, which needs none for a socket of the same machine. Datagrams of one socket
// and one size that follow each other are joined: one frame, one write, one way up the guest's stack, at whose end the
// kernel cuts them (VIRTIO_NET_HDR_GSO_UDP_L4, kernel 6.2; older ones say EINVAL, see part()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "net/ip_address.h"

namespace weir::gateway {

class PacketQueue {
 public:
  static constexpr std::size_t kVirtioHeader = 10;  // virtio_net_hdr
  static constexpr std::size_t kMaxParts = 64;      // UDP_MAX_SEGMENTS of the oldest kernels

  // Whether a frame that was read has a packet that is whole, and whose checksum is.
  static bool is_finished(Bytes frame);

  void add(Bytes packet);
  // A datagram that is too long for a packet, or between two families, is left out.
  void add_datagram(net::Endpoint source, net::Endpoint destination, Bytes payload);
  void clear();
  // From now on every datagram is a frame of its own.
  void stop_joining() { most_parts_ = 1; }

  std::size_t size() const { return bytes_.size(); }  // in bytes
  std::size_t count() const { return items_.size(); }
  // How many datagrams the frame at `index` holds; 1 for other packets.
  std::size_t parts(std::size_t index) const { return items_[index].parts; }
  // The whole frame at `index`. Valid until the next call that is not const.
  Bytes frame(std::size_t index);
  // One datagram of a frame of several, as a frame of its own. Valid as long.
  Bytes part(std::size_t index, std::size_t part);

 private:
  struct Item {
    std::size_t offset = 0;
    std::size_t size = 0;
    std::size_t parts = 1;
    std::size_t part_size = 0;  // payload of all datagrams but perhaps the last
    enum class Kind : std::uint8_t { packet, datagrams } kind = Kind::packet;
    net::Endpoint source = {};  // of datagrams
    net::Endpoint destination = {};
  };

  bool joins(const Item& last, net::Endpoint source, net::Endpoint destination, Bytes payload) const;
  // Writes what stands before the payload of a datagram.
  static void write_headers(MutableBytes frame, net::Endpoint source, net::Endpoint destination, std::size_t part_size);

  std::size_t most_parts_ = kMaxParts;
  std::vector<std::uint8_t> bytes_;
  std::vector<Item> items_;
  std::vector<std::uint8_t> single_;  // the frame of part()
};

}  // namespace weir::gateway
