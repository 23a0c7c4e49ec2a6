#include "sys/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/errno.h"

namespace weir::sys {

namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  // execve(2) takes them as not constant and leaves them alone.
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// posix_spawn(3) duplicates one after the other: none may lie where another one goes.
Result<std::vector<OwnedFd>> out_of_the_way(const std::vector<int>& descriptors) {
  std::vector<OwnedFd> moved;
  for (const int fd : descriptors) {
    if (fd < 0) {
      moved.emplace_back();
      continue;
    }
    WEIR_TRY(moved.emplace_back(), checked_fd(::fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(descriptors.size())),
                                              "cannot duplicate a descriptor"));
  }
  return moved;
}

class Actions {
 public:
  Actions() { ::posix_spawn_file_actions_init(&actions_); }
  ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

class Attributes {
 public:
  Attributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

}  // namespace

Result<Spawned> spawn(const Spawn& what) {
  WEIR_TRY(const std::vector<OwnedFd> moved, out_of_the_way(what.descriptors));
  Actions actions;
  ::posix_spawn_file_actions_addchdir_np(actions.get(), what.folder.c_str());
  for (std::size_t i = 0; i < moved.size(); ++i) {
    if (moved[i].valid()) ::posix_spawn_file_actions_adddup2(actions.get(), moved[i].get(), static_cast<int>(i));
  }
  const Attributes attributes;
  const std::vector<char*> argv = pointers(what.argv);
  const std::vector<char*> environment = pointers(what.environment);
  Spawned spawned;
  const int failed = ::posix_spawn(&spawned.pid, what.program.c_str(), actions.get(), attributes.get(), argv.data(),
                                   environment.data());
  if (failed != 0) return errno_error("cannot start " + what.program, failed);
  // It is not reaped yet, so the number is still its own.
  spawned.pidfd = OwnedFd(static_cast<int>(::syscall(SYS_pidfd_open, spawned.pid, 0)));
  if (spawned.pidfd.valid()) return spawned;
  const auto error = errno_error("cannot watch " + what.program);
  ::kill(spawned.pid, SIGKILL);
  ::waitpid(spawned.pid, nullptr, 0);
  return error;
}

}  // namespace weir::sys
