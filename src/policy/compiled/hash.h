// A 64-bit mixing hash for tables and for telling images apart. Not cryptographic.
//
// Eight bytes at a time are folded into the state with a 64x64->128 bit multiplication whose halves are xored, so every
// input bit reaches every output bit; the length goes in at the end. The constants are odd 64-bit numbers with an even
// spread of bits (the fractional parts of the golden ratio and of the square root of 2 and 3).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace weir::policy {

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;
inline constexpr std::uint64_t kRoot2 = 0x6a09e667f3bcc909;
inline constexpr std::uint64_t kRoot3 = 0xbb67ae8584caa73b;

// `key`: whoever does not know it cannot choose inputs that meet in one place.
inline std::uint64_t hash_bytes(Bytes bytes, std::uint64_t key = 0) {
  std::uint64_t state = kGolden ^ key;
  std::size_t at = 0;
  for (; bytes.size() - at >= sizeof(std::uint64_t); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    state = mix(state ^ word, kRoot2);
  }
  std::uint64_t tail = 0;
  if (at < bytes.size()) std::memcpy(&tail, bytes.data() + at, bytes.size() - at);
  state = mix(state ^ tail, kRoot3);
  return mix(state ^ bytes.size(), kGolden);
}

// Four hashes side by side, for megabytes: the multiplications of one need not wait for those of another.
inline std::uint64_t checksum(Bytes bytes) {
  std::array<std::uint64_t, 4> lanes = {kGolden, kRoot2, kRoot3, ~kGolden};
  std::size_t at = 0;
  for (; bytes.size() - at >= sizeof(lanes); at += sizeof(lanes)) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), bytes.data() + at, sizeof(words));
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = mix(lanes[i] ^ words[i], kRoot2);
  }
  const std::uint64_t rest = hash_bytes(bytes.subspan(at), bytes.size());
  return hash_bytes({reinterpret_cast<const std::uint8_t*>(lanes.data()), sizeof(lanes)}, rest);
}

// As people see it.
inline std::array<char, 16> hex_digits(std::uint64_t value) {
  std::array<char, 16> digits;
  for (std::size_t i = digits.size(); i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 0xf];
  return digits;
}

}  // namespace weir::policy
