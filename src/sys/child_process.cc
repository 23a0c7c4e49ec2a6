#include "sys/child_process.h"

#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "sys/errno.h"
#include "sys/folder.h"

namespace weir::sys {

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = other.pid_;
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Result<ChildProcess> ChildProcess::clone(std::uint64_t flags, int cgroup) {
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  if (cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<std::uint64_t>(cgroup);
  }
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) return errno_error("cannot start a process in namespaces of its own");
  if (pid == 0) return ChildProcess();
  return ChildProcess(static_cast<pid_t>(pid), OwnedFd(pidfd));
}

Result<> ChildProcess::stop() {
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGSTOP, nullptr, 0) != 0)
    return errno_error("cannot stop a process");
  constexpr int kMostLooks = 2000;
  constexpr timespec kBetween{.tv_sec = 0, .tv_nsec = 500'000};
  for (int look = 0; look < kMostLooks; ++look) {
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WSTOPPED | WNOHANG) != 0 && errno != EINTR)
      return errno_error("cannot see whether a process has stopped");
    if (info.si_pid != 0) return {};
    pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ended, 1, 0) == 1) return fail("a process has ended instead of stopping", ESRCH);
    ::nanosleep(&kBetween, nullptr);
  }
  go_on();
  return fail("a process does not stop", ETIMEDOUT);
}

void ChildProcess::go_on() {
  if (pidfd_.valid()) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGCONT, nullptr, 0);
}

void ChildProcess::begin_kill() {
  // Fails only when the process has ended already.
  if (pidfd_.valid()) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

void ChildProcess::kill() {
  begin_kill();
  wait();
}

std::optional<int> ChildProcess::wait() {
  if (!pidfd_.valid()) return std::nullopt;
  siginfo_t info{};
  int waited = 0;
  do {
    waited = ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED);
  } while (waited != 0 && errno == EINTR);
  pidfd_.reset();
  if (waited != 0) return std::nullopt;
  if (info.si_code == CLD_EXITED) return W_EXITCODE(info.si_status, 0);
  return W_EXITCODE(0, info.si_status) | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

std::vector<int> open_descriptors() {
  std::vector<int> found;
  const Folder folder(::opendir("/proc/self/fd"));
  if (folder == nullptr) return found;
  while (const dirent* entry = next_entry(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (fd != ::dirfd(folder.get())) found.push_back(fd);
  }
  return found;
}

Result<> close_all_but(std::vector<int> kept) {
  std::ranges::sort(kept);
  unsigned first = 0;
  for (const int fd : kept) {
    const auto number = static_cast<unsigned>(fd);
    if (number < first) continue;
    if (number > first && ::close_range(first, number - 1, 0) != 0) return errno_error("cannot close descriptors");
    first = number + 1;
  }
  if (::close_range(first, ~0u, 0) != 0) return errno_error("cannot close descriptors");
  return {};
}

}  // namespace weir::sys
