// --sensitive: files whose first open, by anybody, is waited for, and waits.
//
// A process of its own, the guard, holds a lease (sys/lease.h) on every one of them. An open waits in the kernel; the
// guard tells the supervisor which file it was; the supervisor lets the sandbox enter its [after] and says release(),
// and only then the open goes on. The leases last as long as either of both processes lives. Where the supervisor is
// stopped, killed or stuck, the guard kills the sandbox instead, well before the kernel loses its patience: at no time
// does an open go on in a sandbox that lives and is not sealed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/channel.h"
#include "sys/child_process.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class SensitiveFiles {
 public:
  // Of all paths together; a descriptor each, in two processes, of at most half of those that this process may have.
  static constexpr std::size_t kMaxFiles = 4096;
  // From an open to release(): more than a narrowing may take, less than the kernel waits (usually 45 s).
  static constexpr int kPatienceMs = 10'000;
  // How often the supervisor looks itself: a guard that is stopped tells nothing.
  static constexpr std::uint64_t kLookMs = 4000;

  struct Callbacks {
    std::function<void(const std::string& path)> touched;  // release() is to follow; may come again until then
    std::function<void(std::string why)> lost;             // the guard has died: the sandbox must end
  };

  // `paths`: absolute, links resolved, files or folders; of a folder all regular files below it that are there now.
  // `init`: the pidfd of the process whose end is the sandbox's. From the return on nobody opens one of them unseen. An
  // error names the file that cannot be watched, and why. Nothing of the command may run yet. Call from the main
  // thread.
  static Result<std::unique_ptr<SensitiveFiles>> guard(sys::Reactor& reactor, const std::vector<std::string>& paths,
                                                       int init, Callbacks callbacks);
  // After the sandbox's end: opens that wait go on.
  ~SensitiveFiles();
  SensitiveFiles(const SensitiveFiles&) = delete;
  SensitiveFiles& operator=(const SensitiveFiles&) = delete;

  // The files are as any other from here on.
  void release();
  bool is_released() const { return released_; }

 private:
  struct File {
    std::string path;
    sys::OwnedFd fd;
  };
  class Walk;
  SensitiveFiles(sys::Reactor& reactor, std::vector<File> files, Callbacks callbacks);
  [[noreturn]] void be_guard(int init, sys::Channel supervisor) const;
  Result<> await_guard();
  void hear();
  void look_later();

  sys::Reactor& reactor_;
  std::vector<File> files_;
  Callbacks callbacks_;
  sys::ChildProcess guard_;
  sys::Channel channel_;
  sys::CallbackHandler handler_;
  bool released_ = false;
  sys::Reactor::TimerId next_look_ = 0;
};

}  // namespace weir::supervisor
