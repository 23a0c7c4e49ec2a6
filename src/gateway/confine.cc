#include "gateway/confine.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fcntl.h>
#include <array>

#include "sys/errno.h"
#include "sys/seccomp_filter.h"

namespace weir::gateway {

namespace {

using Filter = sys::SeccompFilter;

// The kernel takes these arguments as int: only the low word counts.
constexpr Filter::Condition int_is(unsigned argument, int value) {
  return {.argument = argument, .mask = 0xffff'ffff, .value = static_cast<std::uint32_t>(value)};
}

Result<> drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const std::array<__user_cap_data_struct, 2> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return sys::errno_error("cannot drop capabilities");
  return {};
}

void allow(Filter& filter, std::initializer_list<long> calls) {
  for (const long call : calls) filter.add(call, Filter::Action::allow());
}

void allow_bytes(Filter& filter) {
  // Hot calls first: the rules are tried in order.
  allow(filter,
        {SYS_epoll_pwait, SYS_recvfrom, SYS_splice, SYS_read, SYS_write, SYS_epoll_ctl, SYS_accept4, SYS_close});
  // With an address a connected UDP socket could be made to send elsewhere.
  filter.add(SYS_sendto, Filter::Action::allow(), {{.argument = 4, .value = 0}});
  allow(filter, {SYS_recvmsg, SYS_recvmmsg, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_pipe2, SYS_ppoll});
#ifdef SYS_poll  // absent on aarch64
  allow(filter, {SYS_epoll_wait, SYS_poll});
#endif
  filter.add(SYS_fcntl, Filter::Action::allow(), {int_is(1, F_SETPIPE_SZ)});
  filter.add(SYS_setsockopt, Filter::Action::allow(), {int_is(1, SOL_SOCKET), int_is(2, SO_LINGER)});
  // Several datagrams in one call, still to the peer.
  filter.add(SYS_setsockopt, Filter::Action::allow(), {int_is(1, IPPROTO_UDP), int_is(2, UDP_SEGMENT)});
}

void allow_memory_and_time(Filter& filter) {
  constexpr std::uint64_t kExecutable = PROT_EXEC;
  filter.add(SYS_mmap, Filter::Action::allow(), {{.argument = 2, .mask = kExecutable, .value = 0}});
  filter.add(SYS_mprotect, Filter::Action::allow(), {{.argument = 2, .mask = kExecutable, .value = 0}});
  allow(filter, {SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_futex});
  allow(filter, {SYS_clock_gettime, SYS_getrandom, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_restart_syscall, SYS_exit,
                 SYS_exit_group});
#ifdef WEIR_SANITIZED
  // What the sanitizers' runtime does while nothing is wrong; a finding ends the process either way. A test build only.
  allow(filter, {SYS_sigaltstack, SYS_getpid, SYS_gettid, SYS_tgkill, SYS_rt_sigaction, SYS_sched_yield});
#endif
}

}  // namespace

Result<> confine() {
  WEIR_CHECK_OK(drop_capabilities());
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys::errno_error("cannot make the gateway undumpable");
  Filter filter(Filter::Action::kill_process(), Filter::Action::kill_process());
  allow_bytes(filter);
  allow_memory_and_time(filter);
  return filter.install();
}

}  // namespace weir::gateway
