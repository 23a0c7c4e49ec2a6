#include "sandbox/living/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "sandbox/root/tools.h"
#include "sandbox/spec.h"
#include "sys/errno.h"

namespace weir::sandbox {
namespace {

using Step = control::ProcessNotExecuted::Step;

constexpr int kNotExecuted = 125;

// Made before vfork(): the child only reads it.
struct Prepared {
  const Launch& plan;
  std::vector<std::string> programs;
  std::vector<const char*> argv;
  std::vector<const char*> envp;
};

// What the child writes into the parent's memory.
struct Refusal {
  volatile int code = 0;
  volatile Step step = Step::program;
};

std::vector<const char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

[[noreturn]] void refuse(Refusal& refusal, Step step, int code) {
  refusal.step = step;
  refusal.code = code;
  ::_exit(kNotExecuted);
}

// None of the sources is 0, 1 or 2 unless it stands there already: init holds something on each of them.
void take_descriptors(const Launch& plan) {
  if (plan.terminal >= 0) {
    ::ioctl(plan.terminal, TIOCSCTTY, 0);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(plan.terminal, fd);
  }
  if (plan.in >= 0) ::dup2(plan.in, STDIN_FILENO);
  if (plan.out >= 0) ::dup2(plan.out, STDOUT_FILENO);
  if (plan.err >= 0) ::dup2(plan.err, STDERR_FILENO);
  int last = STDERR_FILENO;
  if (plan.seal >= 0) {
    last = kSealDescriptor;
    // dup2() onto itself would leave it close-on-exec.
    if (plan.seal == last) ::fcntl(last, F_SETFD, 0);
    if (plan.seal != last) ::dup2(plan.seal, last);
  }
  ::close_range(static_cast<unsigned>(last) + 1, ~0u, 0);
}

// no_new_privs is set: init is confined.
bool install(const std::vector<sock_filter>& filter) {
  const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                           .filter = const_cast<sock_filter*>(filter.data())};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

// Runs in init's memory and on its stack.
[[noreturn]] void become_program(const Prepared& prepared, Refusal& refusal) {
  ::setsid();
  take_descriptors(prepared.plan);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(022);
  if (prepared.plan.folder != nullptr && ::chdir(prepared.plan.folder) != 0) refuse(refusal, Step::folder, errno);
  if (prepared.plan.filter != nullptr && !install(*prepared.plan.filter)) refuse(refusal, Step::filter, errno);
  int code = ENOENT;
  for (const std::string& program : prepared.programs) {
    ::execve(program.c_str(), const_cast<char* const*>(prepared.argv.data()),
             const_cast<char* const*>(prepared.envp.data()));
    const int failed = errno;
    // A file that is there but may not run is worth telling over one that is not there. execve() says "permission
    // denied" of a folder.
    if (failed != ENOENT && failed != ENOTDIR) code = failed == EACCES && is_folder(program) ? EISDIR : failed;
    if (failed != ENOENT && failed != ENOTDIR && failed != EACCES) break;
  }
  refuse(refusal, Step::program, code);
}

}  // namespace

Launched launch(const Launch& plan) {
  const Prepared prepared{.plan = plan,
                          .programs = candidates(plan.argv.front(), plan.environment),
                          .argv = pointers_to(plan.argv),
                          .envp = pointers_to(plan.environment)};
  Refusal refusal;
  // Parent and child write the same memory, one after the other; a copy of the address space would cost more than
  // everything else here.
  // NOLINTBEGIN(clang-analyzer-unix.Vfork,clang-analyzer-security.insecureAPI.vfork,bugprone-unsafe-functions)
  const pid_t pid = ::vfork();
  // NOLINTEND(clang-analyzer-unix.Vfork,clang-analyzer-security.insecureAPI.vfork,bugprone-unsafe-functions)
  if (pid == 0) become_program(prepared, refusal);
  if (pid < 0) return {.pid = -1, .code = errno, .step = Step::program};
  return {.pid = pid, .code = refusal.code, .step = refusal.step};
}

control::Exited exited(int status, const rusage& usage) {
  const auto microseconds = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
  };
  return {.status = static_cast<std::uint32_t>(status),
          .user_us = microseconds(usage.ru_utime),
          .system_us = microseconds(usage.ru_stime),
          .max_rss_kib = static_cast<std::uint64_t>(usage.ru_maxrss)};
}

Result<Terminal> make_terminal() {
  Terminal terminal;
  WEIR_TRY(terminal.master,
           sys::checked_fd(::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), "cannot make a terminal"));
  const int unlocked = 0;
  if (::ioctl(terminal.master.get(), TIOCSPTLCK, &unlocked) != 0) return sys::errno_error("cannot unlock the terminal");
  WEIR_TRY(terminal.slave, sys::checked_fd(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC),
                                           "cannot open the terminal"));
  return terminal;
}

}  // namespace weir::sandbox
