// The system calls that a guest is refused. The namespaces are the barrier; this list takes away kernel surface that
// ordinary programs do not need, and the few ways by which an unprivileged process could act on what is outside.
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "sandbox/confinement/confinement.h"

// Newer than the kernel headers of Debian 12. Numbers above 423 are the same on every architecture.
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif
#ifndef __NR_open_tree_attr
#define __NR_open_tree_attr 467
#endif

namespace weir::sandbox {
namespace {

using Filter = sys::SeccompFilter;
using Action = Filter::Action;
using Condition = Filter::Condition;

// int and unsigned arguments: the kernel ignores the upper half of the register, and so must a comparison.
constexpr std::uint64_t kLowHalf = 0xffffffff;

Condition is(unsigned argument, std::uint64_t value) {
  return {.argument = argument, .mask = kLowHalf, .value = value & kLowHalf};
}
Condition has_any_of(unsigned argument, std::uint64_t bits) {
  return {.argument = argument, .mask = bits, .value = 0, .test = Condition::Test::not_equal};
}

constexpr std::uint64_t kCloneNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
// CLONE_NEWTIME; clone() reads these bits as the exit signal, unshare() as the flag.
constexpr std::uint64_t kTimeNamespace = 0x80;

// A new user namespace gives every capability over new namespaces: the kernel surface this list is about.
void refuse_namespaces(Filter& filter) {
  filter.add(__NR_clone, Action::fail_with(EPERM), {has_any_of(0, kCloneNamespaces)});
  filter.add(__NR_clone, Action::allow());
  // Its flags are in memory, where a filter cannot look. libc falls back to clone().
  filter.add(__NR_clone3, Action::fail_with(ENOSYS));
  filter.add(__NR_unshare, Action::fail_with(EPERM), {has_any_of(0, kCloneNamespaces | kTimeNamespace)});
  filter.add(__NR_setns, Action::fail_with(EPERM));
}

void restrict_inet(Filter& filter, unsigned family, unsigned icmp) {
  constexpr unsigned kTypeBits = 0xf;  // SOCK_TYPE_MASK; above it are SOCK_NONBLOCK and SOCK_CLOEXEC
  const auto of_type = [](unsigned type) { return Condition{.argument = 1, .mask = kTypeBits, .value = type}; };
  for (const unsigned type : {unsigned{SOCK_RAW}, unsigned{SOCK_PACKET}}) {
    // SOCK_PACKET of AF_INET is an old name of AF_PACKET, which the kernel still knows.
    filter.add(__NR_socket, Action::fail_with(EPERM), {is(0, family), of_type(type)});
  }
  // Protocol 0 is the first of the type, so the type decides too: for SOCK_SEQPACKET it is SCTP, for SOCK_DCCP DCCP.
  for (const unsigned protocol : {0u, unsigned{IPPROTO_TCP}}) {
    filter.add(__NR_socket, Action::allow(), {is(0, family), of_type(SOCK_STREAM), is(2, protocol)});
  }
  for (const unsigned protocol : {0u, unsigned{IPPROTO_UDP}, icmp}) {
    filter.add(__NR_socket, Action::allow(), {is(0, family), of_type(SOCK_DGRAM), is(2, protocol)});
  }
  // SCTP, DCCP, UDP-Lite, MPTCP ...: programs fall back, and their modules stay unloaded.
  filter.add(__NR_socket, Action::fail_with(EPROTONOSUPPORT), {is(0, family)});
}

void restrict_sockets(Filter& filter) {
  filter.add(__NR_socket, Action::allow(), {is(0, AF_UNIX)});
  restrict_inet(filter, AF_INET, IPPROTO_ICMP);
  restrict_inet(filter, AF_INET6, IPPROTO_ICMPV6);
  // Reading only: every change needs CAP_NET_ADMIN over the network namespace, which nobody inside has, root neither.
  filter.add(__NR_socket, Action::allow(), {is(0, AF_NETLINK), is(2, NETLINK_ROUTE)});
  filter.add(__NR_socket, Action::fail_with(EAFNOSUPPORT));
  filter.add(__NR_socketpair, Action::allow(), {is(0, AF_UNIX)});
  filter.add(__NR_socketpair, Action::fail_with(EAFNOSUPPORT));
}

void restrict_ioctl(Filter& filter) {
  // Typing into the terminal of whoever started weir (CVE-2017-5226, CVE-2023-28100); line disciplines load modules;
  // nobody else could open a terminal in exclusive mode, nor write to one whose output is stopped (TCXONC), and both
  // outlive the sandbox; kernel messages are not the guest's.
  for (const unsigned long request : {static_cast<unsigned long>(TIOCSTI), static_cast<unsigned long>(TIOCLINUX),
                                      static_cast<unsigned long>(TIOCSETD), static_cast<unsigned long>(TIOCEXCL),
                                      static_cast<unsigned long>(TCXONC), static_cast<unsigned long>(TIOCCONS)}) {
    filter.add(__NR_ioctl, Action::fail_with(EPERM), {is(1, request)});
  }
  filter.add(__NR_ioctl, Action::allow());
}

// Its flags and mode are in memory; programs fall back to openat().
void refuse_openat2(Filter& filter) {
  filter.add(__NR_openat2, Action::fail_with(ENOSYS));
}

// A set-id file in a shared folder would run outside with the rights of whoever owns the folder.
void refuse_set_id_files(Filter& filter, Filtered filtered) {
  constexpr std::uint64_t kSetId = S_ISUID | S_ISGID;
  constexpr std::uint64_t kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;
  const Action refuse = Action::fail_with(EPERM);
  const auto creating = [&](long number, unsigned flags) {
    filter.add(number, refuse, {has_any_of(flags, O_CREAT | kTmpfileBit), has_any_of(flags + 1, kSetId)});
    filter.add(number, Action::allow());
  };
  creating(__NR_openat, 2);
  if (filtered == Filtered::everything) refuse_openat2(filter);
  filter.add(__NR_fchmod, refuse, {has_any_of(1, kSetId)});
  filter.add(__NR_fchmodat, refuse, {has_any_of(2, kSetId)});
  filter.add(__NR_fchmodat2, refuse, {has_any_of(2, kSetId)});
  filter.add(__NR_mknodat, refuse, {has_any_of(2, kSetId)});
#ifdef __NR_open
  creating(__NR_open, 1);
  filter.add(__NR_creat, refuse, {has_any_of(1, kSetId)});
  filter.add(__NR_chmod, refuse, {has_any_of(1, kSetId)});
  filter.add(__NR_mknod, refuse, {has_any_of(1, kSetId)});
#endif
}

// "Done" without doing it: a shell's `ulimit -c` goes through, and the limit that keeps crashes away from the host's
// crash handler stays.
void keep_core_limit(Filter& filter) {
  const Action pretend = Action::fail_with(0);
  filter.add(__NR_setrlimit, pretend, {is(0, RLIMIT_CORE)});
  // A new limit is there when the pointer is not null; both halves, since half an address may well be zero.
  filter.add(__NR_prlimit64, pretend, {is(1, RLIMIT_CORE), has_any_of(2, ~std::uint64_t{0})});
}

void restrict_personality(Filter& filter) {
  constexpr std::uint64_t kQuery = 0xffffffff;
  constexpr std::uint64_t kNoRandomize = 0x0040000;  // debuggers
  constexpr std::uint64_t kUname26 = 0x0020000;
  constexpr std::uint64_t kLinux32 = 8;
  for (const std::uint64_t persona :
       {std::uint64_t{0}, kQuery, kNoRandomize, kUname26, kLinux32, kUname26 | kLinux32}) {
    filter.add(__NR_personality, Action::allow(), {is(0, persona)});
  }
  filter.add(__NR_personality, Action::fail_with(EPERM));
}

// clang-format off
// Of no use without capabilities, or reaching past the namespaces.
constexpr long kRefused[] = {
    // mounts
    __NR_mount, __NR_umount2, __NR_pivot_root, __NR_move_mount, __NR_fsopen, __NR_fsconfig, __NR_fsmount, __NR_fspick,
    __NR_open_tree, __NR_open_tree_attr, __NR_mount_setattr, __NR_swapon, __NR_swapoff, __NR_quotactl,
    __NR_quotactl_fd, __NR_acct,
    // files by handle lead past the root folder; fanotify sees other processes' files
    __NR_open_by_handle_at, __NR_name_to_handle_at, __NR_fanotify_init,
    // key rings are not in a namespace of their own
    __NR_add_key, __NR_request_key, __NR_keyctl,
    // kernel programs, events, modules, log, clock, identity of the machine
    __NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_init_module, __NR_finit_module, __NR_delete_module,
    __NR_kexec_load, __NR_kexec_file_load, __NR_reboot, __NR_syslog, __NR_settimeofday, __NR_clock_settime,
    __NR_sethostname, __NR_setdomainname, __NR_vhangup, __NR_nfsservctl, __NR_lookup_dcookie,
    // takes descriptors out of other processes
    __NR_pidfd_getfd,
#ifdef __NR_iopl
    __NR_iopl, __NR_ioperm, __NR_create_module, __NR_get_kernel_syms, __NR_query_module, __NR_uselib, __NR_ustat,
    __NR_sysfs, __NR__sysctl,
#endif
};

// Programs ask for these and do without; "no such call" makes them.
constexpr long kAbsent[] = {__NR_io_uring_setup, __NR_io_uring_enter, __NR_io_uring_register};
// clang-format on

}  // namespace

Filter process_filter() {
  Filter filter(Action::allow(), Action::fail_with(ENOSYS));
  refuse_openat2(filter);
  return filter;
}

Filter guest_filter(Filtered filtered) {
  Filter filter(Action::allow(), Action::fail_with(ENOSYS));
  refuse_set_id_files(filter, filtered);
  restrict_ioctl(filter);
  restrict_sockets(filter);
  refuse_namespaces(filter);
  keep_core_limit(filter);
  restrict_personality(filter);
  for (const long number : kRefused) filter.add(number, Action::fail_with(EPERM));
  for (const long number : kAbsent) filter.add(number, Action::fail_with(ENOSYS));
  return filter;
}

}  // namespace weir::sandbox
