// A netlink socket: sends a batch, collects its acknowledgements, walks dumps.
#pragma once

#include <functional>

#include "base/error.h"
#include "netlink/message.h"
#include "sys/owned_fd.h"

namespace weir::netlink {

class Socket {
 public:
  // `protocol`: NETLINK_ROUTE or NETLINK_NETFILTER. `groups`: multicast groups to follow (RTMGRP_*), 0 for none.
  static Result<Socket> open(int protocol, std::uint32_t groups = 0);

  // Sends the batch and waits for every acknowledgement. The error names the first refused message by its position
  // (1-based) in the batch.
  Result<> transact(Batch& batch);

  // Sends one dump request and calls `visit` with each answer (header included).
  Result<> dump(Batch& request, const std::function<void(const nlmsghdr&)>& visit);

  // Reads away everything that is queued; true if there was anything (or the queue overflowed): something changed.
  bool drain();

  int fd() const { return fd_.get(); }

 private:
  explicit Socket(sys::OwnedFd fd) : fd_(std::move(fd)) {}
  Result<> send(Bytes bytes);

  sys::OwnedFd fd_;
};

}  // namespace weir::netlink
