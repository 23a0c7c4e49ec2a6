// Everything inside stands still, but for init.
//
// By SIGSTOP, which no program can refuse. It is no wall: a program that armed a timer with SIGCONT goes on by itself.
// What relies on it is what its owner asked of programs that mean no harm (a snapshot of files at rest).
#pragma once

#include <cstdint>

#include "sys/owned_fd.h"

namespace weir::sandbox {

struct Standstill {
  int code = 0;           // 0: nothing moves. ETIMEDOUT: something did not stop. Otherwise it could not be found out.
  std::uint32_t pid = 0;  // what did not stop
};

// In init, pid 1. `proc`: a /proc of this pid namespace that shows everything. Takes at most two seconds.
Standstill stand_still(const sys::OwnedFd& proc);
// Everything goes on, also what was stopped before.
void go_on();

}  // namespace weir::sandbox
