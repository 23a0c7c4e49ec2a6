// Starts the process that parses hostile bytes, in a world with nothing in it.
#pragma once

#include "base/error.h"
#include "sandbox/capture.h"
#include "sys/channel.h"
#include "sys/child_process.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {

// Descriptor numbers in the gateway: what it has is all it will ever be given, except connected sockets.
inline constexpr int kGatewayControl = 3;
inline constexpr int kGatewayListener = 4;
inline constexpr int kGatewayTun = 5;
inline constexpr int kGatewayPolicy = 6;
// The name under which the program runs as gateway (argv[0]).
inline constexpr const char* kGatewayName = "weir-gateway";

class GatewayProcess {
 public:
  // A new address space (the program executed again under kGatewayName) in user, mount, network, ipc, uts and cgroup
  // namespaces of its own, its root an empty read-only folder, no capability after exec; the gateway then confines
  // itself further before it reads a byte (gateway/confine.h). It dies with the calling process. As root it becomes
  // nobody first.
  static Result<GatewayProcess> start(const sandbox::Capture& capture, const sys::OwnedFd& policy_image);

  sys::Channel& channel() { return channel_; }
  // Readable when it has died.
  int pidfd() const { return child_.pidfd(); }

 private:
  GatewayProcess(sys::ChildProcess child, sys::Channel channel)
      : child_(std::move(child)), channel_(std::move(channel)) {}

  sys::ChildProcess child_;  // killed and reaped when this object dies
  sys::Channel channel_;
};

}  // namespace weir::supervisor
