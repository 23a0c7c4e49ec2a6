// A process of the sandbox begins: what init does between vfork() and execve().
#pragma once

#include <linux/filter.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "control/init_messages.h"
#include "sys/owned_fd.h"

namespace weir::sandbox {

struct Launch {
  const std::vector<std::string>& argv;         // never empty
  const std::vector<std::string>& environment;  // "NAME=VALUE" each; the program is looked up on its PATH
  // Entered first; null: where init is.
  const char* folder = nullptr;
  // Become 0, 1 and 2; -1: stays as it is. A terminal becomes all three, and controls the process.
  int in = -1;
  int out = -1;
  int err = -1;
  int terminal = -1;
  // Becomes kSealDescriptor; -1: none.
  int seal = -1;
  // What it is refused besides what init itself is.
  const std::vector<sock_filter>* filter = nullptr;
};

struct Launched {
  pid_t pid = -1;  // -1: there is no process
  // 0: the program runs. Otherwise the errno of what was refused, and the process ends.
  int code = 0;
  control::ProcessNotExecuted::Step step = control::ProcessNotExecuted::Step::program;
};

// In init. The process leads a session and a process group, has those descriptors and no other, no blocked signal, and
// umask 022. vfork(): the caller sleeps until the program runs, so the answer is known then, and no page is copied.
Launched launch(const Launch& plan);

// How a process ended that was waited for.
control::Exited exited(int status, const rusage& usage);

struct Terminal {
  sys::OwnedFd master;
  sys::OwnedFd slave;
};
// Of the sandbox's devpts: nothing typed or pushed into it reaches the caller's.
Result<Terminal> make_terminal();

}  // namespace weir::sandbox
