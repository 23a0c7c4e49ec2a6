// bare_clone [total=1] [parallel=1] [hold=1] [network=new|shared] -- COMMAND...
//
// The control for starts: clone3 with the namespaces that weir makes, execve, wait. No id map, no mount, no rule, no
// filter: what the kernel alone takes.
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "starts.h"

namespace weir::bench {
namespace {

constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

pid_t start(const Arguments& arguments, std::uint64_t flags) {
  clone_args clone{};
  clone.flags = flags;
  clone.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &clone, sizeof clone);
  if (pid < 0) die_errno("cannot clone");
  if (pid == 0) {
    ::execvp(arguments.command[0], arguments.command.data());
    ::_exit(127);
  }
  return static_cast<pid_t>(pid);
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  const Arguments arguments = Arguments::parse(argc, argv);
  const std::uint64_t network = arguments.text("network", "new") == "new" ? CLONE_NEWNET : 0;
  run_starts(arguments, [&] { return start(arguments, kNamespaces | network); });
}
