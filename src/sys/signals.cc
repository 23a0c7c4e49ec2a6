#include "sys/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "sys/errno.h"

namespace weir::sys {

struct SignalWatch::State : EventHandler {
  State(Reactor& loop, OwnedFd descriptor, sigset_t before, std::function<void(int)> callback)
      : reactor(loop), fd(std::move(descriptor)), previous(before), on_signal(std::move(callback)) {}
  ~State() override {
    reactor.forget(fd.get());
    ::sigprocmask(SIG_SETMASK, &previous, nullptr);
  }
  void on_events(std::uint32_t) override { take(); }
  void take() {
    signalfd_siginfo info{};
    while (::read(fd.get(), &info, sizeof info) == sizeof info) on_signal(static_cast<int>(info.ssi_signo));
  }

  Reactor& reactor;
  OwnedFd fd;
  sigset_t previous;
  std::function<void(int)> on_signal;
};

SignalWatch::SignalWatch(std::unique_ptr<State> state) : state_(std::move(state)) {}
SignalWatch::SignalWatch(SignalWatch&&) noexcept = default;
SignalWatch::~SignalWatch() = default;

int SignalWatch::fd() const {
  return state_->fd.get();
}

void SignalWatch::take() {
  state_->take();
}

Result<SignalWatch> SignalWatch::create(Reactor& reactor, std::initializer_list<int> signals,
                                        std::function<void(int)> on_signal) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) ::sigaddset(&set, signal);
  WEIR_TRY(OwnedFd fd, checked_fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "cannot watch signals"));
  sigset_t previous;
  if (::sigprocmask(SIG_BLOCK, &set, &previous) != 0) return errno_error("cannot block signals");
  ::signal(SIGPIPE, SIG_IGN);
  auto state = std::make_unique<State>(reactor, std::move(fd), previous, std::move(on_signal));
  WEIR_CHECK_OK(reactor.watch(state->fd.get(), EPOLLIN, *state));
  return SignalWatch(std::move(state));
}

void suspend_this_process() {
  sigset_t stop;
  sigset_t before;
  ::sigemptyset(&stop);
  ::sigaddset(&stop, SIGTSTP);
  ::raise(SIGTSTP);
  ::sigprocmask(SIG_UNBLOCK, &stop, &before);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace weir::sys
