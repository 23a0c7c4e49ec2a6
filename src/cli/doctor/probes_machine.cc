// What no control depends on and what nevertheless makes weir faster, its record better, or the room around it tighter.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <vector>

#include "cli/doctor/probe.h"
#include "supervisor/record/audit_log.h"
#include "supervisor/state_folder.h"
#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/pipe.h"
#include "sys/throwaway_child.h"

namespace weir::cli {
namespace {

constexpr int kPipes = 64;              // a busy gateway: 32 connections that move in bulk
constexpr int kPipeBytes = 256 * 1024;  // what a relay asks for

Result<std::string> probe_events_folder() {
  Result<std::string> folder = supervisor::default_events_folder();
  if (!folder) return folder;
  // It is made at the first run: until then the nearest folder that exists decides.
  std::string existing = *folder;
  while (existing.size() > 1 && ::access(existing.c_str(), F_OK) != 0)
    existing.erase(std::max<std::size_t>(existing.rfind('/'), 1));
  const std::string trial = existing + "/.weir-doctor-" + std::to_string(::getpid());
  auto made = sys::checked(::mkdir(trial.c_str(), 0700), ("cannot make anything in " + existing).c_str());
  if (!made) {
    return std::unexpected(
        std::move(made)
            .error()
            .context("no place for the record of a run")
            .with_remedy("export XDG_STATE_HOME=FOLDER (one that you may write), or give each run --events FILE"));
  }
  ::rmdir(trial.c_str());
  return "records go to " + *folder + " unless --events says otherwise";
}

Result<std::string> probe_relay_pipes() {
  std::vector<sys::Pipe> pipes;
  for (int i = 0; i < kPipes; ++i) {
    WEIR_TRY(sys::Pipe pipe, sys::make_pipe());
    pipes.push_back(std::move(pipe));
    if (::fcntl(pipes.back().writing.get(), F_SETPIPE_SZ, kPipeBytes) >= 0) continue;
    return std::unexpected(Error("pipe " + std::to_string(i + 1) + " of " + std::to_string(kPipes) +
                                 " did not get 256 KiB: bulk transfers are slower with that many at once")
                               .with_remedy("sudo sysctl -w fs.pipe-user-pages-soft=65536"));
  }
  return std::to_string(kPipes) + " pipes of 256 KiB at once, for bulk transfers";
}

Result<std::string> probe_clock() {
  constexpr int kReads = 2000;
  constexpr auto kSlow = std::chrono::nanoseconds(500);  // a system call; without one it is about 30
  auto best = std::chrono::nanoseconds::max();
  // The fastest of several: another process may have had the processor.
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kReads; ++i) {
      timespec now{};
      ::clock_gettime(CLOCK_MONOTONIC, &now);
    }
    best = std::min(
        best, std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin) / kReads);
  }
  const std::string source = read_setting(kClockSource);
  std::string measured = std::to_string(best.count()) + " ns a reading (clock source " + source + ")";
  if (best < kSlow) return measured;
  return std::unexpected(Error("a clock is slow: " + measured)
                             .with_remedy("echo tsc | sudo tee " + std::string(kClockSource) +
                                          " (if available_clocksource beside it names tsc)"));
}

Result<std::string> probe_memory_lock() {
  std::vector<char> page(64 * 1024);
  WEIR_CHECK_OK(
      with_remedy(sys::checked(::mlock(page.data(), page.size()), "cannot keep 64 KiB out of swap"), "ulimit -l 64"));
  return "64 KiB can be kept out of swap (nothing in this version asks for it)";
}

Result<std::string> probe_ping_sockets() {
  const sys::OwnedFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
  if (fd.valid()) return "an ICMP echo that a policy allows goes out through a ping socket of this user";
  return with_remedy<std::string>(
      sys::errno_error("this user may open no ping socket: an ICMP echo fails even where a policy allows it"),
      "sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'");
}

Result<std::string> probe_typing() {
  // In a user namespace: the host's administrator is exempt from the setting that is to be found out.
  WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
  WEIR_TRY(const sys::OwnedFd master,
           sys::checked_fd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), "cannot open a terminal"));
  const int unlocked = 0;
  WEIR_CHECK_OK(sys::checked(::ioctl(master.get(), TIOCSPTLCK, &unlocked), "cannot unlock a terminal"));
  WEIR_TRY(
      const sys::OwnedFd terminal,
      sys::checked_fd(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), "cannot open a terminal"));
  // The end of the terminal is sent to whoever leads its session, which this child is from here on.
  ::signal(SIGHUP, SIG_IGN);
  WEIR_CHECK_OK(sys::checked(::setsid(), "cannot leave the session"));
  WEIR_CHECK_OK(sys::checked(::ioctl(terminal.get(), TIOCSCTTY, 0), "cannot take a terminal"));
  if (::ioctl(terminal.get(), TIOCSTI, "x") != 0) return "the kernel lets no program type into its terminal";
  Error error("programs may type into their terminal (TIOCSTI); inside, the guest filter refuses it");
  if (read_setting(kTypingAllowed) == "absent") {
    return std::unexpected(std::move(error).context("this kernel is older than 6.2 and cannot forbid it"));
  }
  return std::unexpected(std::move(error).with_remedy("sudo sysctl -w dev.tty.legacy_tiocsti=0"));
}

Result<std::string> probe_tracing() {
  if (::geteuid() == 0) return "root may trace every process; nothing limits it";
  WEIR_TRY(sys::ChildProcess other, sys::ChildProcess::clone(0));
  if (other.in_child()) wait_to_be_killed();
  const pid_t target = other.pid();
  const auto traced = sys::in_throwaway_child([target]() -> Result<std::string> {
    // Its parent is not the tracer: the case that Yama forbids.
    WEIR_CHECK_OK(sys::checked(static_cast<int>(::ptrace(PTRACE_SEIZE, target, nullptr, nullptr)), "refused"));
    return "traced";
  });
  if (!traced) return "a process of this user could not trace its sibling";
  Error error("every process of this user outside may trace weir and what it runs");
  if (read_setting(kYama) == "absent") return std::unexpected(std::move(error).context("this kernel has no Yama"));
  return std::unexpected(std::move(error).with_remedy("sudo sysctl -w kernel.yama.ptrace_scope=1"));
}

constexpr std::array kProbes = {
    Probe{"default record", Need::feature, Footing::plain, probe_events_folder},
    Probe{"relay pipes", Need::improvement, Footing::plain, probe_relay_pipes},
    Probe{"clock", Need::improvement, Footing::plain, probe_clock},
    Probe{"terminal input", Need::improvement, Footing::user_namespace, probe_typing},
    Probe{"tracing", Need::improvement, Footing::plain, probe_tracing},
    Probe{"memory lock", Need::improvement, Footing::plain, probe_memory_lock},
    Probe{"ping sockets", Need::feature, Footing::plain, probe_ping_sockets},
};

}  // namespace

std::span<const Probe> machine_probes() {
  return kProbes;
}

}  // namespace weir::cli
