#include "sandbox/init.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
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
#include "sandbox/capture.h"
#include "sandbox/confinement.h"
#include "sandbox/guest_sockets.h"
#include "sandbox/image_root.h"
#include "sandbox/remedies.h"
#include "sandbox/root.h"
#include "sys/child_process.h"
#include "sys/errno.h"
#include "sys/program_pages.h"

namespace weir::sandbox {
namespace {

// Init's own exit code when it fails; the supervisor has been told why.
constexpr int kInitFailed = 125;

// /proc/1/cmdline is readable by everybody inside, and what lies there is the supervisor's command line and
// environment: arguments may hold secrets. The kernel puts both between argv[0] and the name of the executed file.
void scrub_arguments() {
  char* const first = program_invocation_name;
  const auto* end = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  if (first == nullptr || end == nullptr || first >= end) return;
  ::explicit_bzero(first, static_cast<std::size_t>(end - first));
}

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
    if (const int code = start_command(); code != 0) {
      tell(control::NotExecuted{.code = static_cast<std::uint32_t>(code)});
      ::_exit(kInitFailed);
    }
    serve();
  }

 private:
  // Each step needs what the ones before it left: the network is made while /dev/net/tun and /proc/sys are the host's,
  // the root is changed while there are capabilities, and the command starts when nothing is left to give up.
  Result<> set_up() {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return sys::errno_error("cannot tie init to the supervisor");
    ::prctl(PR_SET_NAME, "weir-init", 0, 0, 0);
    scrub_arguments();
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
    WEIR_CHECK_OK(change_root());
    WEIR_CHECK_OK(watch_children());
    WEIR_CHECK_OK(confine(spec_.user, plan_.identity));
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
            .layer_taker = [this](std::uint32_t share, const sys::OwnedFd& layer) {
              return send(control::LayerMade{.share = share}, layer.get());
            }};
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
    const std::string& folder = spec_.workdir.empty() ? spec_.user.home : spec_.workdir;
    if (::chdir(folder.c_str()) == 0) return {};
    const int code = errno;
    return std::unexpected(Error("cannot start in " + folder + " (inside): " + sys::errno_text(code), code)
                               .with_remedy("choose a folder that exists inside (-w), or share it (-v, --here)"));
  }

  // A terminal of the sandbox's own devpts: nothing typed or pushed into it reaches the caller's.
  Result<> open_terminal() {
    WEIR_TRY(const sys::OwnedFd master,
             sys::checked_fd(::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), "cannot make a terminal"));
    const int unlocked = 0;
    if (::ioctl(master.get(), TIOCSPTLCK, &unlocked) != 0) return sys::errno_error("cannot unlock the terminal");
    WEIR_TRY(terminal_, sys::checked_fd(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC),
                                        "cannot open the terminal"));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      winsize size{};
      if (::ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
      ::ioctl(master.get(), TIOCSWINSZ, &size);
      break;
    }
    return send(control::TerminalMade{}, master.get());
  }

  // 0, or the errno of execve(). vfork(): this process sleeps until the command runs, so the answer is known then, and
  // no page is copied.
  int start_command() {
    const std::vector<std::string> environment = command_environment(spec_, plan_.tools);
    const std::vector<std::string> programs = candidates(spec_.argv.front(), environment);
    std::vector<const char*> argv;
    for (const std::string& argument : spec_.argv) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    std::vector<const char*> envp;
    for (const std::string& variable : environment) envp.push_back(variable.c_str());
    envp.push_back(nullptr);
    volatile int code = 0;
    // Parent and child write the same member, one after the other; a copy of the address space would cost more than
    // everything else here.
    // NOLINTBEGIN(clang-analyzer-unix.Vfork,clang-analyzer-security.insecureAPI.vfork,bugprone-unsafe-functions)
    command_ = ::vfork();
    // NOLINTEND(clang-analyzer-unix.Vfork,clang-analyzer-security.insecureAPI.vfork,bugprone-unsafe-functions)
    if (command_ < 0) return errno;
    if (command_ == 0) become_command(programs, argv.data(), envp.data(), code);
    return code;
  }

  static bool is_folder(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  }

  // Runs in init's memory and on its stack.
  [[noreturn]] void become_command(const std::vector<std::string>& programs, const char* const* argv,
                                   const char* const* envp, volatile int& code) const {
    ::setsid();
    if (terminal_.valid()) {
      ::ioctl(terminal_.get(), TIOCSCTTY, 0);
      for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(terminal_.get(), fd);
    }
    int last = STDERR_FILENO;
    if (seal_.valid()) {
      last = kSealDescriptor;
      // dup2() onto itself would leave it close-on-exec.
      if (seal_.get() == last) ::fcntl(last, F_SETFD, 0);
      if (seal_.get() != last) ::dup2(seal_.get(), last);
    }
    ::close_range(static_cast<unsigned>(last) + 1, ~0u, 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::umask(022);
    int refusal = ENOENT;
    for (const std::string& program : programs) {
      ::execve(program.c_str(), const_cast<char* const*>(argv), const_cast<char* const*>(envp));
      const int failed = errno;
      // A file that is there but may not run is worth telling over one that is not there. execve() says "permission
      // denied" of a folder.
      if (failed != ENOENT && failed != ENOTDIR) refusal = failed == EACCES && is_folder(program) ? EISDIR : failed;
      if (failed != ENOENT && failed != ENOTDIR && failed != EACCES) break;
    }
    code = refusal;
    ::_exit(kInitFailed);
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
    const auto microseconds = [](const timeval& time) {
      return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
    };
    tell(control::Exited{.status = static_cast<std::uint32_t>(status),
                         .user_us = microseconds(usage.ru_utime),
                         .system_us = microseconds(usage.ru_stime),
                         .max_rss_kib = static_cast<std::uint64_t>(usage.ru_maxrss)});
    ::_exit(0);
  }

  void obey() {
    const auto message = receive();
    if (!message || !*message) ::_exit(kInitFailed);  // the supervisor is gone: so is the sandbox
    if (const auto* wanted = std::get_if<control::OpenSocket>(&**message)) return open_socket(*wanted);
    const auto* order = std::get_if<control::SendSignal>(&**message);
    if (order == nullptr) ::_exit(kInitFailed);
    // The command leads a session and a process group of its own. ESRCH: it has ended, and the report is on its way.
    ::kill(-command_, order->number);
  }

  void open_socket(const control::OpenSocket& wanted) {
    const auto socket = begin_connect(wanted);
    const auto sent =
        socket ? send(control::SocketMade{.id = wanted.id}, socket->get()) : Result<>(std::unexpected(socket.error()));
    // Also when the user's processes together have too many descriptors on the way.
    if (!sent) tell(control::SocketFailed{.id = wanted.id, .code = static_cast<std::uint32_t>(sent.error().code())});
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
  pthread_t builder_{};
  Result<> filled_;  // the builder's, until it has ended
  pid_t command_ = -1;
};

}  // namespace

void run_init(const InitPlan& plan, sys::Channel supervisor) {
  Init(plan, std::move(supervisor)).run();
}

}  // namespace weir::sandbox
