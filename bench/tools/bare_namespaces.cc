// bare_namespaces [total=1] [parallel=1]
//
// The control for sessions: clones with the namespaces that weir makes, the loopback up, one paused process in each,
// and nothing else: no id map, no mount, no rule, no program. Holds them until standard input ends.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "tool.h"

namespace weir::bench {
namespace {

constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

// In the child, which is a copy of one thread of many: system calls only.
[[noreturn]] void pause_inside(int said) {
  ifreq loopback{};
  std::memcpy(loopback.ifr_name, "lo", 3);
  loopback.ifr_flags = IFF_UP;
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool up = fd >= 0 && ::ioctl(fd, SIOCSIFFLAGS, &loopback) == 0;
  ::close(fd);
  if (!up || ::write(said, "u", 1) != 1) ::_exit(1);
  ::close(said);
  while (true) ::pause();
}

// Its loopback is up when this returns.
pid_t start() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) die_errno("cannot make a pipe");
  clone_args clone{};
  clone.flags = kNamespaces;
  clone.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &clone, sizeof clone);
  if (pid < 0) die_errno("cannot clone");
  if (pid == 0) pause_inside(ends[1]);
  ::close(ends[1]);
  char byte = 0;
  if (::read(ends[0], &byte, 1) != 1) die("the loopback did not come up");
  ::close(ends[0]);
  return static_cast<pid_t>(pid);
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv, 0, "bare_namespaces [total=1] [parallel=1]");
  raise_descriptor_limit();
  std::vector<pid_t> running(arguments.number("total", 1));
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> threads;
  const std::uint64_t began = now_ns();
  for (std::uint64_t i = 0; i < arguments.number("parallel", 1); ++i) {
    threads.emplace_back([&] {
      for (std::size_t mine = next++; mine < running.size(); mine = next++) running[mine] = start();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::uint64_t elapsed = now_ns() - began;
  weir::JsonWriter json;
  print(json.begin_object().field("started", std::uint64_t{running.size()}).field("elapsed_ns", elapsed).end_object());
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  for (const pid_t pid : running) ::kill(pid, SIGKILL);
  for (const pid_t pid : running) ::waitpid(pid, nullptr, 0);
}
