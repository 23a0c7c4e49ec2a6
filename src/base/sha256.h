// SHA-256 (FIPS 180-4), for digests that others wrote down: of archives, layers, configurations.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace weir {

class Sha256 {
 public:
  void update(Bytes bytes);
  // 64 lower-case hexadecimal digits. The object is used up.
  std::string finish();

 private:
  void compress(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};
  std::uint64_t size_ = 0;
};

std::string sha256_hex(Bytes bytes);

}  // namespace weir
