// Bytes of files, moved and compared without being looked at; holes stay holes.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::changes {

struct Span {
  int fd = -1;
  std::uint64_t offset = 0;
};

// `from` holds at least `bytes` bytes from its offset on. What lies in holes of `from` is not written: `to` is new
// there.
Result<> copy_content(const Span& from, const Span& to, std::uint64_t bytes);

// An error where one of them cannot be read; where one of them ends early they differ.
Result<bool> same_content(const Span& one, const Span& other, std::uint64_t bytes);

}  // namespace weir::changes
