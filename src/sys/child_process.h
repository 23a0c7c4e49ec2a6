// A child held by its pidfd: killed and reaped when the handle dies.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "sys/owned_fd.h"

namespace weir::sys {

class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&&) noexcept = default;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess() { kill(); }

  // As fork(), with CLONE_NEW* `flags`: returns an empty handle in the child. The calling process is single-threaded:
  // the child shares nothing but the contents of memory. libc's cached thread id is stale in the child, so it calls
  // nothing that locks by owner.
  // `cgroup`: a cgroup's folder, in which the child begins its life (kernel 5.7), or -1.
  static Result<ChildProcess> clone(std::uint64_t flags, int cgroup = -1);

  bool in_child() const { return !pidfd_.valid(); }
  pid_t pid() const { return pid_; }
  // Readable when the process has ended. -1 after kill().
  int pidfd() const { return pidfd_.get(); }

  // SIGSTOP, and waits until nothing of it runs any more, at most a second; it can still be killed.
  Result<> stop();
  // SIGCONT.
  void go_on();
  // SIGKILL, without waiting. Idempotent.
  void begin_kill();
  // SIGKILL, then waits until the process is gone. Idempotent.
  void kill();
  // Waits for the end; the wait status as waitpid() gives it, or nothing when it was reaped before.
  std::optional<int> wait();

 private:
  ChildProcess(pid_t pid, OwnedFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_ = 0;
  OwnedFd pidfd_;
};

// Numbers of all that are open now.
std::vector<int> open_descriptors();

// Closes every descriptor of the process but these.
Result<> close_all_but(std::vector<int> kept);

}  // namespace weir::sys
