// Pipes for splice(2), lent to a direction while it moves in bulk and given back when it pauses.
#pragma once

#include <optional>
#include <vector>

#include "sys/owned_fd.h"

namespace weir::gateway {

struct Pipe {
  sys::OwnedFd read_end;
  sys::OwnedFd write_end;
  std::size_t capacity = 0;
};

class PipePool {
 public:
  // Pipe pages are a budget per user that all gateways share (fs.pipe-user-pages-soft, 64 MiB): few large ones, which a
  // lone bulk flow fills, little for the rest, and few are kept.
  static constexpr std::size_t kLargeCapacity = 1024 * 1024;
  static constexpr std::size_t kMaxLarge = 2;
  static constexpr std::size_t kCapacity = 256 * 1024;
  static constexpr std::size_t kMaxIdle = 4;
  static constexpr std::size_t kMaxLent = 64;

  // nullopt: no pipe to be had; the direction goes on with recv and send.
  std::optional<Pipe> borrow();
  // Only an empty pipe comes back; one with bytes in it is closed by its owner.
  void give_back(Pipe pipe);
  // A borrowed pipe was closed instead of given back.
  void lost() { --lent_; }

 private:
  std::vector<Pipe> idle_;
  std::size_t lent_ = 0;
};

}  // namespace weir::gateway
