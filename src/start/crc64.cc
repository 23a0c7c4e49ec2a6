// The checksum that .xz files carry by default (CRC-64, ECMA-182). Defined here, so that the linker does not take
// liblzma's: the object it lies in asks the processor what it can do before every main(), and inside a virtual machine
// each CPUID instruction costs some 10 us.
#include <lzma.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace {

constexpr std::uint64_t kPolynomial = 0xc96c'5795'd787'0f42;  // bits in reverse

constexpr std::array<std::uint64_t, 256> kTable = [] {
  std::array<std::uint64_t, 256> table{};
  for (std::uint64_t byte = 0; byte < table.size(); ++byte) {
    std::uint64_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? kPolynomial : 0);
    table[byte] = rest;
  }
  return table;
}();

}  // namespace

extern "C" std::uint64_t lzma_crc64(const std::uint8_t* data, std::size_t size, std::uint64_t crc) noexcept {
  crc = ~crc;
  for (; size > 0; --size, ++data) crc = kTable[(crc ^ *data) & 0xff] ^ (crc >> 8);
  return ~crc;
}
