// Byte helpers that the tests of this room share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace weir::wire {

// A copy in a heap block of exactly its size, so that the address sanitizer sees a read or write one byte too far.
class ExactCopy {
 public:
  explicit ExactCopy(Bytes bytes) : data_(new std::uint8_t[bytes.size()]), size_(bytes.size()) {
    if (!bytes.empty()) std::memcpy(data_.get(), bytes.data(), bytes.size());
  }
  Bytes bytes() const { return {data_.get(), size_}; }
  MutableBytes mutable_bytes() { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_;
};

inline std::unique_ptr<ExactCopy> exact_copy(Bytes bytes) {
  return std::make_unique<ExactCopy>(bytes);
}

inline std::string to_string(Bytes bytes) {
  return std::string(as_text(bytes));
}

// "0102ff"; spaces are skipped.
inline std::vector<std::uint8_t> from_hex(std::string_view hex) {
  std::string digits;
  for (const char c : hex) {
    if (c != ' ') digits += c;
  }
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 2 <= digits.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

}  // namespace weir::wire
