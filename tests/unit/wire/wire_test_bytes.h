// Byte helpers that the tests of this room share.
#pragma once

#include <memory>
#include <string>

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

}  // namespace weir::wire
