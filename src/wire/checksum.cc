#include "wire/checksum.h"

#include <bit>
#include <cstring>

namespace weir::wire {

void Checksum::add(Bytes piece) {
  // Words are summed in native order and swapped once at the end (RFC 1071 2(B)): the loop vectorizes that way.
  std::uint64_t native = 0;
  std::size_t i = 0;
  for (; i + 4 <= piece.size(); i += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, piece.data() + i, sizeof word);
    native += word;
  }
  std::array<std::uint8_t, 4> tail{};
  for (std::size_t j = 0; i + j < piece.size(); ++j) tail[j] = piece[i + j];
  native += std::bit_cast<std::uint32_t>(tail);
  while ((native >> 16) != 0) native = (native & 0xffff) + (native >> 16);
  const auto folded = static_cast<std::uint16_t>(native);
  sum_ += std::endian::native == std::endian::little ? std::rotl(folded, 8) : folded;
}

void Checksum::add_u16(std::uint16_t host_order) {
  sum_ += host_order;
}

void Checksum::add_u32(std::uint32_t host_order) {
  sum_ += (host_order >> 16) + (host_order & 0xffff);
}

std::uint16_t Checksum::value() const {
  std::uint64_t sum = sum_;
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::uint16_t checksum_of(Bytes bytes) {
  Checksum checksum;
  checksum.add(bytes);
  return checksum.value();
}

std::uint16_t transport_checksum(net::IpAddress source, net::IpAddress destination, std::uint8_t protocol,
                                 Bytes segment) {
  Checksum checksum;
  if (source.is_v4()) {
    checksum.add_u32(source.v4_bits());
    checksum.add_u32(destination.v4_bits());
  } else {
    checksum.add(source.bytes());
    checksum.add(destination.bytes());
  }
  // The two families spell length and protocol with different widths, which a sum cannot tell apart.
  checksum.add_u32(static_cast<std::uint32_t>(segment.size()));
  checksum.add_u16(protocol);
  checksum.add(segment);
  return checksum.value();
}

}  // namespace weir::wire
