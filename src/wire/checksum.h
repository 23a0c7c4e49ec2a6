// The Internet checksum (RFC 1071).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "net/ip_address.h"

namespace weir::wire {

// Sums in pieces; every piece but the last must have an even length, since a word may not straddle two of them.
class Checksum {
 public:
  void add(Bytes piece);
  void add_u16(std::uint16_t host_order);
  void add_u32(std::uint32_t host_order);

  // The complement of the sum, in host order. Over a message that contains its own correct checksum this is 0.
  std::uint16_t value() const;

 private:
  std::uint64_t sum_ = 0;  // of words in host order; 64 bits cannot overflow below 2^48 words
};

std::uint16_t checksum_of(Bytes bytes);

// The checksum of a TCP, UDP or ICMPv6 segment with the pseudo header of its family (RFC 9293 3.1, RFC 768,
// RFC 8200 8.1). Both addresses are of one family. `protocol` is the IP protocol number.
std::uint16_t transport_checksum(net::IpAddress source, net::IpAddress destination, std::uint8_t protocol,
                                 Bytes segment);

}  // namespace weir::wire
