// Files that are only memory: made, filled, sealed, and then passed to other processes, which can rely on them.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

// Empty, close-on-exec, not sealed. `name` is for /proc.
Result<OwnedFd> make_memory_file(const char* name);
// Writes all of it behind what is there.
Result<> append(const OwnedFd& memory, Bytes bytes);
// Replaces bytes that are there.
Result<> overwrite(const OwnedFd& memory, std::size_t offset, Bytes bytes);
// From now on nobody can change it, through whatever descriptor.
Result<> seal(const OwnedFd& memory);

// A regular file, copied by the kernel: what others do to the file later does not show. An error when it is larger than
// `max_bytes` or changes its size meanwhile. Errors name the path.
Result<OwnedFd> copy_to_memory(const std::string& path, const char* name, std::size_t max_bytes);

// Does the regular file begin with these bytes? False for everything that cannot be read or is no file.
bool begins_with(const std::string& path, Bytes beginning);

// The whole of a memory file, for reading, until the mapping goes.
class Mapping {
 public:
  static Result<Mapping> of(const OwnedFd& memory);
  // Of a sealed one that is known to be so large: for a process that may not ask.
  static Result<Mapping> of(const OwnedFd& memory, std::size_t size);
  Mapping() = default;
  ~Mapping();
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Bytes bytes() const { return bytes_; }

 private:
  explicit Mapping(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

}  // namespace weir::sys
