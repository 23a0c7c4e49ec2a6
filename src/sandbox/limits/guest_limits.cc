#include "sandbox/limits/guest_limits.h"

#include <asm/unistd.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/errno.h"

// Numbers above 423 are the same on every architecture.
#ifndef __NR_memfd_secret
#define __NR_memfd_secret 447
#endif

namespace weir::sandbox {
namespace {

Result<> set_limit(__rlimit_resource_t resource, std::uint64_t value, const char* name) {
  const rlimit wanted{.rlim_cur = value, .rlim_max = value};
  if (::setrlimit(resource, &wanted) != 0) return sys::errno_error(std::string("cannot set ") + name);
  return {};
}

// The kernel does not hold RLIMIT_NPROC for its own first user (uid 0 of the machine) nor for whoever has certain
// capabilities there. Rather than guess: with room for nobody but init, a child must be refused.
Result<> prove_process_limit() {
  rlimit before{};
  if (::getrlimit(RLIMIT_NPROC, &before) != 0) return sys::errno_error("cannot read RLIMIT_NPROC");
  const rlimit room{.rlim_cur = 1, .rlim_max = before.rlim_max};
  if (::setrlimit(RLIMIT_NPROC, &room) != 0) return sys::errno_error("cannot set RLIMIT_NPROC");
  const long child = ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  const int code = errno;
  if (child == 0) ::_exit(0);
  if (child < 0 && code == EAGAIN) return {};
  if (child > 0) ::waitpid(static_cast<pid_t>(child), nullptr, 0);
  return std::unexpected(Error("option --pids: this kernel does not hold RLIMIT_NPROC for the sandbox's user")
                             .with_remedy("run weir as another user, or where it has a cgroup (weir doctor)"));
}

Result<> run_on(const std::vector<unsigned>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned processor : processors) CPU_SET(processor, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0)
    return sys::errno_error("cannot choose processors for the sandbox");
  return {};
}

}  // namespace

sys::SeccompFilter limits_filter(const GuestLimits& limits) {
  using Action = sys::SeccompFilter::Action;
  // A second filter beside guest_filter(): of both answers the kernel takes the stricter one.
  sys::SeccompFilter filter(Action::allow(), Action::fail_with(ENOSYS));
  if (limits.data_bytes) {
    for (const long number : {__NR_memfd_create, __NR_memfd_secret, __NR_shmget}) {
      filter.add(number, Action::fail_with(ENOSYS));
    }
  }
  if (!limits.processors.empty()) filter.add(__NR_sched_setaffinity, Action::fail_with(EPERM));
  return filter;
}

Result<> apply_guest_limits(const GuestLimits& limits) {
  if (!limits.any()) return {};
  if (limits.data_bytes) WEIR_CHECK_OK(set_limit(RLIMIT_DATA, *limits.data_bytes, "RLIMIT_DATA"));
  if (limits.processes) {
    WEIR_CHECK_OK(prove_process_limit());
    WEIR_CHECK_OK(set_limit(RLIMIT_NPROC, *limits.processes, "RLIMIT_NPROC"));
  }
  if (!limits.processors.empty()) WEIR_CHECK_OK(run_on(limits.processors));
  return limits_filter(limits).install();
}

Result<std::vector<unsigned>> choose_processors(unsigned count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0)
    return sys::errno_error("cannot ask for this process's processors");
  std::vector<unsigned> own;
  for (unsigned processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &set)) own.push_back(processor);
  }
  if (count > own.size()) return fail("this process may use " + std::to_string(own.size()) + " processors only");
  const std::size_t first = static_cast<std::size_t>(::getpid()) % own.size();
  std::vector<unsigned> chosen;
  for (std::size_t step = 0; step < count; ++step) chosen.push_back(own[(first + step) % own.size()]);
  return chosen;
}

}  // namespace weir::sandbox
