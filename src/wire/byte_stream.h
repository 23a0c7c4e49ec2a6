// Bytes that arrive one buffer after the other: a file, what a decompressor makes of it, a block of memory in a test.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/error.h"

namespace weir::wire {

class ByteStream {
 public:
  ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  virtual ~ByteStream() = default;

  // Fills at least one byte of `into`, which is not empty. 0: the end.
  virtual Result<std::size_t> read(MutableBytes into) = 0;
};

}  // namespace weir::wire
