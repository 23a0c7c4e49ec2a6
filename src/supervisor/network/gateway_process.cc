#include "supervisor/network/gateway_process.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "gateway/gateway.h"
#include "sys/descriptor_limit.h"
#include "sys/errno.h"

namespace weir::supervisor {

namespace {

constexpr unsigned kNobody = 65534;

// Memory of a gateway whose tables are all full: a buffer of 64 KiB each way for 8,192 flows, 32 MiB of unjudged bytes
// four times, six buffers of 64 KiB for each of 1,024 connections to its proxies, and 128 MiB for what the resolver and
// the allocator keep. Beyond it an allocation fails, the gateway dies, and the sandbox ends with its network.
constexpr rlim_t kMaxGatewayData = (1024u + 128u + 384u + 128u) << 20;

// Everything the child needs, made before the clone: the child allocates nothing.
struct Plan {
  int control;
  int listener;
  int tun;
  int policy;
  int program;
};

[[noreturn]] void give_up(const char* step) {
  // Descriptor 2 is still the caller's: the supervisor reports the death, this line says why.
  const char* cause = ::strerrordesc_np(errno);
  static_cast<void>(::dprintf(STDERR_FILENO, "weir: the gateway cannot start: %s: %s\n", step, cause));
  ::_exit(125);
}

void require(bool done, const char* step) {
  if (!done) give_up(step);
}

void become_nobody() {
  if (::geteuid() != 0) return;
  require(::setgroups(0, nullptr) == 0, "setgroups");
  require(::setresgid(kNobody, kNobody, kNobody) == 0, "setresgid");
  require(::setresuid(kNobody, kNobody, kNobody) == 0, "setresuid");
}

// Descriptors go to 3..6 by way of high numbers, so that none is overwritten on the way.
void place_descriptors(const Plan& plan) {
  const std::array<int, 5> wanted = {plan.control, plan.listener, plan.tun, plan.policy, plan.program};
  std::array<int, 5> high{};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    high[i] = ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 100);
    require(high[i] >= 0, "fcntl");
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const int last = i + 1 == wanted.size() ? O_CLOEXEC : 0;
    require(::dup3(high[i], gateway::kControl + static_cast<int>(i), last) >= 0, "dup3");
  }
  require(::syscall(SYS_close_range, gateway::kControl + wanted.size(), ~0u, 0) == 0, "close_range");
}

#ifndef WEIR_SANITIZED
void enter_empty_root() {
  require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mount private");
  require(::mount("weir", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=2,mode=555") == 0,
          "mount tmpfs");
  require(::chdir("/tmp") == 0, "chdir");
  require(::syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
  require(::umount2(".", MNT_DETACH) == 0, "umount");
  require(
      ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0,
      "remount read-only");
}
#endif

// What the caller reads and writes is none of the gateway's business. Its standard error stays until confine(), for the
// one line that says why a gateway cannot start.
void detach_standard_descriptors() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  require(null >= 0, "open /dev/null");
  require(::dup2(null, STDIN_FILENO) >= 0 && ::dup2(null, STDOUT_FILENO) >= 0, "dup2");
  ::close(null);
}

// EINVAL tells where the kernel's capabilities end.
void drop_capability_bounds() {
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  require(errno == EINVAL, "drop the bounding set");
}

[[noreturn]] void become_gateway(const Plan& plan) {
  constexpr int kProgram = gateway::kPolicy + 1;
  // Away from the caller's terminal: its ^C is for the command. Not in a session of its own: the kernel would schedule
  // it as a group of its own (sched_autogroup), against the programs whose bytes it moves.
  require(::setpgid(0, 0) == 0, "setpgid");
  // The one line that says why a gateway cannot start must not stop it (stty tostop).
  ::signal(SIGTTOU, SIG_IGN);
  place_descriptors(plan);
  detach_standard_descriptors();
  become_nobody();
  require(::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) == 0,
          "unshare");
#ifndef WEIR_SANITIZED
  // A sanitized program is dynamically linked and would not find its loader in an empty root.
  enter_empty_root();
#endif
  drop_capability_bounds();
  require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  // Ignored signals are inherited through exec, masks too: start from the defaults.
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const std::array<const char*, 2> arguments = {gateway::kProgramName, nullptr};
  const std::array<const char*, 1> environment = {nullptr};
  ::execveat(kProgram, "", const_cast<char* const*>(arguments.data()), const_cast<char* const*>(environment.data()),
             AT_EMPTY_PATH);
  give_up("execveat");
}

// Two for each flow that it may be handed, and what it has besides: a gateway that is not itself any more cannot fill
// the machine with pipes.
void limit_descriptors(std::uint64_t flows) {
  rlimit limit{};
  require(::getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
  const rlim_t most = std::min<rlim_t>(gateway::descriptors_besides_flows() + 2 * flows, limit.rlim_max);
  limit = {.rlim_cur = most, .rlim_max = most};
  require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

void limit_memory() {
  const rlimit limit{.rlim_cur = kMaxGatewayData, .rlim_max = kMaxGatewayData};
  require(::setrlimit(RLIMIT_DATA, &limit) == 0, "setrlimit");
}

}  // namespace

std::string GatewayProcess::end() {
  const int status = child_.wait().value_or(0);
  const char* signal = WIFSIGNALED(status) ? ::sigabbrev_np(WTERMSIG(status)) : nullptr;
  const std::string how =
      signal != nullptr ? "SIG" + std::string(signal) : "status " + std::to_string(WEXITSTATUS(status));
  return how + " (it may use " + std::to_string(kMaxGatewayData >> 20) + " MiB of memory)";
}

Result<GatewayProcess> GatewayProcess::start(const sandbox::Capture& capture, const sys::OwnedFd& policy_image,
                                             std::uint64_t flows) {
  WEIR_TRY(auto channels, sys::Channel::pair());
  auto& [ours, theirs] = channels;
  // The gateway waits for the supervisor when it is behind; the supervisor never waits for the gateway.
  if (::fcntl(theirs.fd(), F_SETFL, 0) != 0) return sys::errno_error("cannot prepare the gateway's channel");
  WEIR_TRY(const sys::OwnedFd program,
           sys::checked_fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "cannot open the program itself"));
  // What the sandbox's network does not have stands for nothing.
  WEIR_TRY(const sys::OwnedFd nothing,
           sys::checked_fd(::open("/dev/null", O_RDWR | O_CLOEXEC), "cannot open /dev/null"));
  const auto or_nothing = [&](const sys::OwnedFd& fd) { return fd.valid() ? fd.get() : nothing.get(); };
  const Plan plan{.control = theirs.fd(),
                  .listener = or_nothing(capture.listener),
                  .tun = or_nothing(capture.tun),
                  .policy = policy_image.get(),
                  .program = program.get()};
  // Here too: packets that the gateway has not read yet count against the soft limit. The sandbox stands already and
  // does not inherit it.
  sys::raise_descriptor_limit();
  WEIR_TRY(sys::ChildProcess child, in_context(sys::ChildProcess::clone(0), "cannot start the gateway"));
  if (child.in_child()) {
    limit_memory();
    limit_descriptors(flows);
    become_gateway(plan);
  }
  return GatewayProcess(std::move(child), std::move(ours));
}

}  // namespace weir::supervisor
