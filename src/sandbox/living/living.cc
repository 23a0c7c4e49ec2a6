#include "sandbox/living/living.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <map>

#include "control/texts.h"
#include "sandbox/confinement/confinement.h"
#include "sandbox/files/file_task.h"
#include "sandbox/living/launch.h"
#include "sandbox/living/standstill.h"
#include "sandbox/network/guest_sockets.h"
#include "sys/errno.h"
#include "sys/memory_file.h"
#include "sys/mounts.h"
#include "sys/program_pages.h"

namespace weir::sandbox {
namespace {

// The supervisor's orders are believed; one that cannot be is no order of the supervisor.
[[noreturn]] void give_up() {
  ::_exit(kInitFailed);
}

class Keeper {
 public:
  explicit Keeper(const Living& living) : living_(living), filter_(process_filter().program()) {}

  [[noreturn]] void serve() {
    let_go_of_standard_descriptors();
    int patience = sys::kSettledMs;
    while (true) {
      std::array<pollfd, 2> waiting = {pollfd{.fd = living_.children.get(), .events = POLLIN, .revents = 0},
                                       pollfd{.fd = living_.supervisor.fd(), .events = POLLIN, .revents = 0}};
      if (::poll(waiting.data(), waiting.size(), patience) == 0) {
        sys::forget_program_pages();
        patience = -1;
      }
      if (waiting[0].revents != 0) reap();
      if (waiting[1].revents != 0) take_order();
    }
  }

 private:
  using Passed = std::vector<sys::OwnedFd>;

  // They are the supervisor's; no process gets them.
  static void let_go_of_standard_descriptors() {
    const sys::OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      if (!null.valid() || ::dup2(null.get(), fd) < 0) give_up();
    }
  }

  void reap() {
    signalfd_siginfo info{};
    while (::read(living_.children.get(), &info, sizeof info) > 0) {
    }
    int status = 0;
    rusage usage{};
    for (pid_t pid = 0; (pid = ::wait4(-1, &status, WNOHANG, &usage)) > 0;) {
      file_tasks_.erase(pid);
      const auto found = processes_.find(pid);
      if (found == processes_.end()) continue;
      tell(control::ProcessExited{.id = found->second, .how = exited(status, usage)});
      processes_.erase(found);
    }
  }

  void take_order() {
    constexpr std::size_t kMostPassed = 4;  // of StartProcess
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    auto received = living_.supervisor.receive(buffer, kMostPassed);
    if (!received || received->state == sys::Channel::Received::State::closed) give_up();
    if (received->state == sys::Channel::Received::State::nothing) return;
    const auto order = control::decode<control::ToInit>(received->message);
    if (!order) give_up();
    Passed& passed = received->passed;
    if (const auto* process = std::get_if<control::StartProcess>(&*order)) return start(*process, passed);
    if (const auto* signal = std::get_if<control::SignalProcess>(&*order)) return forward(*signal);
    if (const auto* begun = std::get_if<control::StartFileTask>(&*order)) return start(*begun, passed);
    if (const auto* ended = std::get_if<control::EndFileTask>(&*order)) return end(*ended);
    if (std::holds_alternative<control::Freeze>(*order)) return freeze();
    if (std::holds_alternative<control::Thaw>(*order)) return thaw();
    if (const auto* wanted = std::get_if<control::OpenSocket>(&*order)) return serve_socket(*wanted, sender());
    give_up();
  }

  static std::vector<std::string> texts_of(const sys::OwnedFd& memory) {
    const auto mapping = sys::Mapping::of(memory);
    auto texts = mapping ? control::decode_texts(mapping->bytes()) : std::nullopt;
    if (!texts) give_up();
    return std::move(*texts);
  }

  void start(const control::StartProcess& order, const Passed& passed) {
    if (passed.size() != (order.terminal ? 1 : 4)) give_up();
    std::vector<std::string> texts = texts_of(passed.front());
    if (order.arguments == 0 || texts.size() <= order.arguments) give_up();
    const Spec& spec = living_.plan.spec;
    const auto first = texts.begin() + 1;
    const auto last = first + order.arguments;
    const std::vector<std::string> argv(first, last);
    const std::vector<std::string> environment = command_environment({last, texts.end()}, spec, living_.plan.tools);
    Terminal terminal;
    if (order.terminal) {
      auto made = make_terminal();
      if (!made) return static_cast<void>(tell(failed(order, made.error())));
      terminal = std::move(*made);
      const winsize size{.ws_row = order.rows, .ws_col = order.columns, .ws_xpixel = 0, .ws_ypixel = 0};
      ::ioctl(terminal.master.get(), TIOCSWINSZ, &size);
    }
    const auto standard = [&](std::size_t number) { return order.terminal ? -1 : passed[number + 1].get(); };
    const Launched launched = launch({.argv = argv,
                                      .environment = environment,
                                      .folder = texts.front().empty() ? start_folder(spec) : texts.front().c_str(),
                                      .in = standard(0),
                                      .out = standard(1),
                                      .err = standard(2),
                                      .terminal = terminal.slave.get(),
                                      .seal = living_.seal.get(),
                                      .filter = &filter_});
    report(order, launched, terminal);
  }

  void report(const control::StartProcess& order, const Launched& launched, const Terminal& terminal) {
    if (launched.pid < 0)
      return static_cast<void>(
          tell(failed(order, Error("cannot begin a process: " + sys::errno_text(launched.code), launched.code))));
    const auto pid = static_cast<std::uint32_t>(launched.pid);
    if (launched.code != 0)
      return static_cast<void>(tell(control::ProcessNotExecuted{
          .id = order.id, .pid = pid, .step = launched.step, .code = static_cast<std::uint32_t>(launched.code)}));
    if (tell(control::ProcessStarted{.id = order.id, .pid = pid}, terminal.master.get())) {
      processes_[launched.pid] = order.id;
      return;
    }
    ::kill(-launched.pid, SIGKILL);
    tell(failed(order, Error("too many descriptors of this user's programs are on their way", EMFILE)));
  }

  static control::ProcessFailed failed(const control::StartProcess& order, const Error& error) {
    return {.id = order.id, .code = static_cast<std::uint32_t>(error.code()), .what = error.what()};
  }

  // A process that was not reaped yet keeps its number, and so does its group.
  void forward(const control::SignalProcess& order) {
    for (const auto& [pid, id] : processes_) {
      if (id == order.id) ::kill(-pid, order.number);
    }
  }

  void start(const control::StartFileTask& order, const Passed& passed) {
    if (passed.size() < 2) give_up();
    const std::vector<std::string> texts = texts_of(passed[0]);
    if (texts.size() != 1) give_up();
    const FileTask task{.order = order,
                        .path = texts.front(),
                        .supervisor = passed[1],
                        .pipe = passed.size() > 2 ? passed[2].get() : -1};
    const pid_t pid = ::fork();
    if (pid == 0) run_file_task(task);
    if (pid < 0) return say_failed(passed[1], sys::errno_error("cannot begin a process").error());
    file_tasks_[pid] = order.id;
  }

  void end(const control::EndFileTask& order) {
    for (const auto& [pid, id] : file_tasks_) {
      if (id == order.id) ::kill(pid, SIGKILL);
    }
  }

  void freeze() {
    const auto stopped = stand_still(living_.proc);
    if (stopped.code == 0) return static_cast<void>(tell(control::StandsStill{}));
    go_on();
    tell(control::Moves{.pid = stopped.pid, .code = static_cast<std::uint32_t>(stopped.code)});
  }

  void thaw() { go_on(); }

  std::function<Result<>(const control::FromInit&, int)> sender() {
    return [this](const control::FromInit& message, int passed) {
      if (!tell(message, passed)) return Result<>(fail("no room for a descriptor", ETOOMANYREFS));
      return Result<>();
    };
  }

  // An end that is not told would be waited for: init waits instead until the supervisor has read what it has. False:
  // other programs of the user have so many descriptors on their way that there is none for `passed`.
  bool tell(const control::FromInit& message, int passed = -1) {
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    const Bytes bytes = control::encode(message, buffer);
    for (int looks = 0;;) {
      const auto sent = living_.supervisor.send(bytes, passed);
      if (sent) return true;
      if (sent.error().code() != EAGAIN && sent.error().code() != ETOOMANYREFS) give_up();
      constexpr int kMostLooks = 10;  // while init waits nothing else is begun
      if (sent.error().code() == ETOOMANYREFS && ++looks == kMostLooks) return false;
      // That descriptors on their way are too many poll() does not see.
      const bool no_room = sent.error().code() == EAGAIN;
      constexpr int kLookAgainMs = 20;
      pollfd waiting{.fd = no_room ? living_.supervisor.fd() : -1, .events = POLLOUT, .revents = 0};
      ::poll(&waiting, 1, kLookAgainMs);
    }
  }

  const Living& living_;
  const std::vector<sock_filter> filter_;
  // By pid, until it was waited for.
  std::map<pid_t, std::uint64_t> processes_;
  std::map<pid_t, std::uint64_t> file_tasks_;
};

}  // namespace

Result<sys::OwnedFd> open_proc() {
  constexpr unsigned kNoPrograms = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY;
  return sys::new_filesystem("proc", {{"hidepid", "off"}}, kNoPrograms);
}

void live_on(const Living& living) {
  Keeper(living).serve();
}

}  // namespace weir::sandbox
