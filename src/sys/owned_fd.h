// The one way to own a file descriptor.
#pragma once

#include <unistd.h>

#include <utility>

namespace weir::sys {

// Closes its descriptor when it dies. Move-only; never made from a bool. The descriptor is close-on-exec unless the
// function that made it says otherwise.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  explicit OwnedFd(bool) = delete;
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() { reset(); }

  // -1 when empty.
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // The caller owns it from here.
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    // close() frees the descriptor even when it reports EINTR or EIO (Linux), so there is nothing to retry.
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace weir::sys
