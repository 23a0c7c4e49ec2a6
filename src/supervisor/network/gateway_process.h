// Starts the process that parses hostile bytes, in a world with nothing in it.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "sandbox/network/capture.h"
#include "sys/channel.h"
#include "sys/child_process.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {

class GatewayProcess {
 public:
  // A new address space (the program executed again under gateway::kProgramName) in user, mount, network, ipc, uts and
  // cgroup namespaces of its own, its root an empty read-only folder, no capability after exec; the gateway then
  // confines itself further before it reads a byte (gateway/confine.h). It dies with the calling process. As root it
  // becomes nobody first. It may have descriptors for `flows` at a time and for what it needs itself.
  static Result<GatewayProcess> start(const sandbox::Capture& capture, const sys::OwnedFd& policy_image,
                                      std::uint64_t flows);

  sys::Channel& channel() { return channel_; }
  // Readable when it has died.
  int pidfd() const { return child_.pidfd(); }
  // Nothing of it runs until go_on(). Blocks for less than a millisecond, unless the machine is stuck.
  Result<> stop() { return child_.stop(); }
  void go_on() { child_.go_on(); }
  // How it ended, in words, with the bound on its memory: beyond it the gateway ends like after any other fault. Waits
  // for the end; once only, and pidfd() is closed afterwards.
  std::string end();

 private:
  GatewayProcess(sys::ChildProcess child, sys::Channel channel)
      : child_(std::move(child)), channel_(std::move(channel)) {}

  sys::ChildProcess child_;  // killed and reaped when this object dies
  sys::Channel channel_;
};

}  // namespace weir::supervisor
