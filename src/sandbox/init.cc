#include "sandbox/init.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "control/init_messages.h"
#include "sandbox/confinement/confinement.h"
#include "sandbox/living/launch.h"
#include "sandbox/living/living.h"
#include "sandbox/network/capture.h"
#include "sandbox/network/guest_sockets.h"
#include "sandbox/remedies.h"
#include "sandbox/root/image_root.h"
#include "sandbox/root/root.h"
#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/program_arguments.h"
#include "sys/program_pages.h"

namespace weir::sandbox {
namespace {

// The supervisor blocks signals and ignores SIGPIPE; both would be inherited by the command.
void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
}

// A server inside may listen on port 80, as behind a capture: nobody else's port 80 is meant.
Result<> free_low_ports() {
  constexpr const char* kSetting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  WEIR_TRY(const sys::OwnedFd fd,
           sys::checked_fd(::open(kSetting, O_WRONLY | O_CLOEXEC), std::string("cannot open ") + kSetting));
  if (::write(fd.get(), "0", 1) != 1) return sys::errno_error(std::string("cannot write ") + kSetting);
  return {};
}

class Init {
 public:
  Init(const InitPlan& plan, sys::Channel supervisor)
      : plan_(plan), spec_(plan.spec), supervisor_(std::move(supervisor)) {}

  [[noreturn]] void run() {
    if (auto ready = set_up(); !ready) give_up(ready.error());
    tell(control::Started{});
    if (spec_.lives_on) live_on(living());
    if (const int code = start_command(); code != 0) {
      tell(control::NotExecuted{.code = static_cast<std::uint32_t>(code)});
      ::_exit(kInitFailed);
    }
    serve();
  }

 private:
  Living living() {
    return {.plan = plan_, .supervisor = supervisor_, .children = children_, .seal = seal_, .proc = proc_};
  }

  // Each step needs what the ones before it left: the network is made while /dev/net/tun and /proc/sys are the host's,
  // the root is changed while there are capabilities, and the command starts when nothing is left to give up.
  Result<> set_up() {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return sys::errno_error("cannot tie init to the supervisor");
    ::prctl(PR_SET_NAME, "weir-init", 0, 0, 0);
    // /proc/1/cmdline is readable by everybody inside, and what lies there is the supervisor's.
    sys::erase_program_arguments(sys::Erased::environment);
    reset_signals();
    WEIR_CHECK_OK(close_inherited());
    if (!wait_for<control::Begin>()) ::_exit(kInitFailed);
    WEIR_CHECK_OK(begin_root(spec_));
    // Layers become another current folder, so no other thread can fill that root.
    if (!is_layered(spec_)) WEIR_CHECK_OK(start_builder());
    WEIR_CHECK_OK(set_up_network());
    if (spec_.seals) WEIR_CHECK_OK(make_seal());
    WEIR_CHECK_OK(become_root_inside());
    if (::sethostname(spec_.hostname.c_str(), spec_.hostname.size()) != 0)
      return sys::errno_error("cannot set the host name of the sandbox");
    WEIR_CHECK_OK(is_layered(spec_) ? fill_root(root_plan()) : wait_for_builder());
    // While there is a /proc that a new one may be like.
    if (spec_.lives_on) {
      WEIR_TRY(proc_, open_proc());
    }
    WEIR_CHECK_OK(change_root());
    WEIR_CHECK_OK(watch_children());
    WEIR_CHECK_OK(confine(spec_.user, plan_.identity, spec_.lives_on ? Filtered::init : Filtered::everything));
    WEIR_CHECK_OK(apply_limits());
    WEIR_CHECK_OK(enter_workdir());
    if (spec_.terminal) WEIR_CHECK_OK(open_terminal());
    if (!wait_for<control::Execute>()) ::_exit(kInitFailed);
    return {};
  }

  // The root and the network have nothing to do with each other, and each takes about as long: a thread fills the root
  // and ends. It shares the mount namespace and the current folder, the new root; a process would cost a copy of the
  // address space and its end. An error of the set-up ends the process and the thread with it.
  Result<> start_builder() {
    // One heap for both: a second one would be made for little use.
    ::mallopt(M_ARENA_MAX, 1);
    const int failed = ::pthread_create(&builder_, nullptr, &Init::build, this);
    if (failed != 0) return fail("cannot start the thread that fills the root: " + sys::errno_text(failed), failed);
    return {};
  }

  static void* build(void* self) {
    auto& init = *static_cast<Init*>(self);
    init.filled_ = init.build_root();
    return nullptr;
  }

  // By system calls, which change this thread alone: the other one needs the supervisor's ids meanwhile, and libc's
  // functions would take them away.
  Result<> build_root() {
    if (plan_.identity != Identity::Kind::own_id &&
        (::syscall(SYS_setresgid, 0, 0, 0) != 0 || ::syscall(SYS_setresuid, 0, 0, 0) != 0))
      return sys::errno_error("cannot become root inside");
    return fill_root(root_plan());
  }

  RootPlan root_plan() {
    return {.spec = spec_,
            .identity = plan_.identity,
            .shares = plan_.shares,
            .tools = plan_.tools,
            .lowers = plan_.lowers,
            .layer_taker =
                [this](std::uint32_t share, const sys::OwnedFd& layer) {
                  return send(control::LayerMade{.share = share}, layer.get());
                },
            .written_taker = [this](const sys::OwnedFd& tree) { return send(control::WrittenMade{}, tree.get()); }};
  }

  Result<> wait_for_builder() {
    if (const int failed = ::pthread_join(builder_, nullptr); failed != 0)
      return fail("cannot wait for the thread that fills the root: " + sys::errno_text(failed), failed);
    return std::move(filled_);
  }

  Result<> close_inherited() {
    std::vector<int> kept = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, supervisor_.fd()};
    for (const PreparedShare& share : plan_.shares) {
      if (share.mount.valid()) kept.push_back(share.mount.get());
    }
    for (const Tool& tool : plan_.tools) {
      if (tool.mount.valid()) kept.push_back(tool.mount.get());
    }
    for (const sys::OwnedFd& lower : plan_.lowers) kept.push_back(lower.get());
    return sys::close_all_but(std::move(kept));
  }

  // False: the supervisor is gone, or has given up.
  template <class Order>
  bool wait_for() {
    const auto message = receive();
    return message && *message && std::holds_alternative<Order>(**message);
  }

  Result<> set_up_network() {
    if (spec_.network == Network::host) return {};
    if (::unshare(CLONE_NEWNET) != 0)
      return std::unexpected(with_clone_remedy(sys::errno_error("cannot make a network namespace").error()));
    switch (spec_.network) {
      case Network::host:
        return {};
      case Network::loopback:
        WEIR_CHECK_OK(set_up_loopback());
        WEIR_CHECK_OK(free_low_ports());
        break;
      case Network::captured:
        WEIR_CHECK_OK(hand_over_capture());
        break;
    }
    if (!spec_.published) return {};
    WEIR_TRY(const sys::OwnedFd socket, open_namespace_socket());
    return send(control::NamespaceMade{}, socket.get());
  }

  Result<> hand_over_capture() {
    WEIR_TRY(const Capture capture, set_up_capture(spec_.addresses));
    WEIR_CHECK_OK(send(control::ListenerMade{}, capture.listener.get()));
    return send(control::TunMade{}, capture.tun.get());
  }

  // Made here and not by the supervisor: what the guest's end says of who made it is then of its own world.
  Result<> make_seal() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      return sys::errno_error("cannot make the descriptor of WEIR_SEAL");
    seal_ = sys::OwnedFd(ends[0]);
    const sys::OwnedFd theirs(ends[1]);
    return send(control::SealMade{}, theirs.get());
  }

  // Until here the ids are those of the supervisor, which have no name inside.
  Result<> become_root_inside() {
    if (plan_.identity == Identity::Kind::own_id) return {};
    if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) return sys::errno_error("cannot become root inside");
    return {};
  }

  Result<> watch_children() {
    sigset_t children;
    ::sigemptyset(&children);
    ::sigaddset(&children, SIGCHLD);
    if (::sigprocmask(SIG_SETMASK, &children, nullptr) != 0) return sys::errno_error("cannot block SIGCHLD");
    WEIR_TRY(children_,
             sys::checked_fd(::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK), "cannot watch children"));
    return {};
  }

  Result<> apply_limits() {
    if (plan_.limiter == nullptr) return {};
    if (plan_.limiter->looks()) {
      WEIR_TRY(const sys::OwnedFd root,
               sys::checked_fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), "cannot open /"));
      WEIR_CHECK_OK(send(control::RootMade{}, root.get()));
    }
    return apply_guest_limits(plan_.limiter->for_guest());
  }

  Result<> enter_workdir() {
    const std::string folder = start_folder(spec_);
    if (::chdir(folder.c_str()) == 0) return {};
    const int code = errno;
    return std::unexpected(Error("cannot start in " + folder + " (inside): " + sys::errno_text(code), code)
                               .with_remedy("choose a folder that exists inside (-w), or share it (-v, --here)"));
  }

  Result<> open_terminal() {
    WEIR_TRY(Terminal made, make_terminal());
    terminal_ = std::move(made.slave);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      winsize size{};
      if (::ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
      ::ioctl(made.master.get(), TIOCSWINSZ, &size);
      break;
    }
    return send(control::TerminalMade{}, made.master.get());
  }

  std::vector<std::string> given_environment() const {
    std::vector<std::string> given;
    for (const auto& [name, value] : spec_.env) given.push_back(name + "=" + value);
    return given;
  }

  // 0, or the errno of execve().
  int start_command() {
    const Launched launched = launch({.argv = spec_.argv,
                                      .environment = command_environment(given_environment(), spec_, plan_.tools),
                                      .terminal = terminal_.get(),
                                      .seal = seal_.get()});
    command_ = launched.pid;
    return launched.code;
  }

  [[noreturn]] void serve() {
    terminal_.reset();
    seal_.reset();
    int patience = sys::kSettledMs;
    while (true) {
      std::array<pollfd, 2> waiting = {pollfd{.fd = children_.get(), .events = POLLIN, .revents = 0},
                                       pollfd{.fd = supervisor_.fd(), .events = POLLIN, .revents = 0}};
      if (::poll(waiting.data(), waiting.size(), patience) == 0) {
        sys::forget_program_pages();
        patience = -1;
      }
      if (waiting[0].revents != 0) reap();
      if (waiting[1].revents != 0) obey();
    }
  }

  void reap() {
    signalfd_siginfo info{};
    while (::read(children_.get(), &info, sizeof info) > 0) {
    }
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == command_) report(status);
    }
  }

  // The end of init is the end of every process in its namespace.
  [[noreturn]] void report(int status) {
    rusage usage{};
    ::getrusage(RUSAGE_CHILDREN, &usage);
    tell(exited(status, usage));
    ::_exit(0);
  }

  void obey() {
    const auto message = receive();
    if (!message || !*message) ::_exit(kInitFailed);  // the supervisor is gone: so is the sandbox
    if (const auto* wanted = std::get_if<control::OpenSocket>(&**message)) {
      return serve_socket(*wanted,
                          [this](const control::FromInit& message, int passed) { return send(message, passed); });
    }
    const auto* order = std::get_if<control::SendSignal>(&**message);
    if (order == nullptr) ::_exit(kInitFailed);
    // The command leads a session and a process group of its own. ESRCH: it has ended, and the report is on its way.
    ::kill(-command_, order->number);
  }

  // A supervisor that is gone need not be told: its end is this process's end.
  void tell(const control::FromInit& message) {
    if (!send(message)) return;
  }

  Result<> send(const control::FromInit& message, int passed = -1) {
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    return supervisor_.send(control::encode(message, buffer), passed);
  }

  // Blocks. Nothing: the supervisor is gone or talks nonsense.
  Result<std::optional<control::ToInit>> receive() {
    std::array<std::uint8_t, control::kMaxMessage> buffer;
    pollfd waiting{.fd = supervisor_.fd(), .events = POLLIN, .revents = 0};
    while (::poll(&waiting, 1, -1) < 0 && errno == EINTR) {
    }
    WEIR_TRY(const auto received, supervisor_.receive(buffer));
    if (received.state != sys::Channel::Received::State::message) return std::nullopt;
    return control::decode<control::ToInit>(received.message);
  }

  [[noreturn]] void give_up(const Error& error) {
    tell(control::Failed{
        .code = static_cast<std::uint32_t>(error.code()), .what = error.what(), .remedy = error.remedy()});
    ::_exit(kInitFailed);
  }

  const InitPlan& plan_;
  const Spec& spec_;
  sys::Channel supervisor_;
  sys::OwnedFd children_;
  sys::OwnedFd terminal_;
  sys::OwnedFd seal_;  // the command's end
  sys::OwnedFd proc_;  // Spec::lives_on
  pthread_t builder_{};
  Result<> filled_;  // the builder's, until it has ended
  pid_t command_ = -1;
};

}  // namespace

const char* start_folder(const Spec& spec) {
  return spec.workdir.empty() ? spec.user.home.c_str() : spec.workdir.c_str();
}

void run_init(const InitPlan& plan, sys::Channel supervisor) {
  Init(plan, std::move(supervisor)).run();
}

}  // namespace weir::sandbox
