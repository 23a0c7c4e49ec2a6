// Init of a sandbox that lives on, once it stands: starts processes and file tasks, reaps, makes everything stand
// still.
#pragma once

#include "sandbox/init.h"
#include "sys/channel.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

struct Living {
  const InitPlan& plan;
  sys::Channel& supervisor;
  const sys::OwnedFd& children;  // a signalfd of SIGCHLD
  const sys::OwnedFd& seal;      // the guest's end; Spec::seals
  const sys::OwnedFd& proc;      // open_proc()
};

// A /proc that shows everything inside, which hidepid keeps from init like from everybody. Nobody else has it. Needs
// the host's /proc, and CAP_SYS_ADMIN inside.
Result<sys::OwnedFd> open_proc();

// Ends with the supervisor.
[[noreturn]] void live_on(const Living& living);

}  // namespace weir::sandbox
