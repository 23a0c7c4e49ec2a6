#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>

#include "control/init_messages.h"
#include "sandbox/init.h"
#include "sandbox/limits/memory_watch.h"
#include "sandbox/remedies.h"
#include "sandbox/root/image_root.h"
#include "sandbox/root/tools.h"
#include "sandbox/shares/share_mounts.h"
#include "sys/errno.h"
#include "sys/reactor.h"

namespace weir::sandbox {
namespace {

// A start takes milliseconds; copying a large share (`:copy`) takes longer. After this something hangs.
constexpr std::uint64_t kStartPatienceMs = 120'000;

// The network namespace, which takes longest to make, is made by init itself while others work.
constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

// The command inherits 0, 1 and 2 and nothing else. Where one is closed, a descriptor of weir could take its number; a
// folder there would be a way out of the root (openat(0, "..")).
Result<> check_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) {
      WEIR_TRY(sys::OwnedFd null, sys::checked_fd(::open("/dev/null", O_RDWR), "cannot open /dev/null"));
      if (null.get() != fd) return fail("descriptor " + std::to_string(fd) + " is closed and cannot be replaced");
      static_cast<void>(null.release());  // it lives as long as the process, like any standard descriptor
    } else if (S_ISDIR(status.st_mode)) {
      return std::unexpected(
          Error("descriptor " + std::to_string(fd) + " is a folder, through which the command would reach the host")
              .with_remedy("redirect it from a file, a pipe or /dev/null"));
    }
  }
  return {};
}

std::string text_of(const Spec& spec) {
  if (spec.argv.empty()) return "";
  const std::string program = spec.argv.front().empty() ? "''" : spec.argv.front();
  return spec.image ? program + " in image '" + spec.image->name + "'" : program;
}

}  // namespace

// What is prepared before the clone. The tools, shares and lower layers are init's alone.
struct Sandbox::Parts {
  Identity identity;
  std::vector<Tool> tools = {};
  Placeholders placeholders = {};
  std::vector<PreparedShare> shares = {};
  std::vector<sys::OwnedFd> lowers = {};
  std::optional<Limiter> limiter = {};

  Result<> prepare(const Spec& spec) {
    WEIR_CHECK_OK(check_standard_descriptors());
    WEIR_TRY(tools, resolve_tools(spec.tools));
    WEIR_CHECK_OK(prepare_tools(tools, identity));
    WEIR_TRY(shares, prepare_shares(spec, identity, placeholders));
    return {};
  }
};

Result<Sandbox> Sandbox::prepare(const Spec& spec) {
  WEIR_ASSERT(spec.lives_on == spec.argv.empty());
  WEIR_TRY(Identity identity, Identity::claim(spec));
  Parts parts{.identity = std::move(identity)};
  WEIR_CHECK_OK(parts.prepare(spec));
  WEIR_TRY(parts.lowers, prepare_lowers(spec, parts.identity));
  if (spec.limits.any()) {
    WEIR_TRY(Limiter prepared, Limiter::prepare(spec, parts.identity.kind()));
    parts.limiter.emplace(std::move(prepared));
  }
  return clone_init(spec, std::move(parts));
}

Result<Sandbox> Sandbox::prepare_over(const Sandbox& session, const Spec& spec) {
  WEIR_ASSERT(spec.lives_on && spec.argv.empty() && spec.over_session && spec.layers.empty());
  WEIR_TRY(Identity identity, session.identity_.shared());
  Parts parts{.identity = std::move(identity)};
  WEIR_CHECK_OK(parts.prepare(spec));
  WEIR_TRY(SessionMounts mounts, take_session_mounts(session.namespaces_, spec));
  parts.lowers.push_back(std::move(mounts.root));
  for (std::size_t i = 0; i < spec.shares.size(); ++i) {
    if (mounts.shares[i].valid()) parts.shares[i].mount = std::move(mounts.shares[i]);
  }
  if (session.limiter_) parts.limiter.emplace(session.limiter_->beside());
  return clone_init(spec, std::move(parts));
}

Result<Sandbox> Sandbox::clone_init(const Spec& spec, Parts parts) {
  WEIR_TRY(auto channels, sys::Channel::pair());
  auto& [ours, theirs] = channels;
  std::optional<Limiter>& limiter = parts.limiter;
  const InitPlan plan{.spec = spec,
                      .identity = parts.identity.kind(),
                      .shares = parts.shares,
                      .tools = parts.tools,
                      .lowers = parts.lowers,
                      .limiter = limiter ? &*limiter : nullptr};
  auto init = sys::ChildProcess::clone(kNamespaces, limiter ? limiter->cgroup_fd() : -1);
  if (!init) return std::unexpected(with_clone_remedy(std::move(init).error()));
  if (init->in_child()) run_init(plan, std::move(theirs));
  theirs = sys::Channel();
  Sandbox sandbox(std::move(parts.identity), std::move(limiter), std::move(parts.placeholders), std::move(*init),
                  std::move(ours));
  sandbox.command_ = text_of(spec);
  sandbox.lives_on_ = spec.lives_on;
  if (spec.lives_on) {
    WEIR_TRY(sandbox.namespaces_, Namespaces::of(sandbox.init_));
  }
  WEIR_CHECK_OK(sandbox.begin());
  return sandbox;
}

Result<> Sandbox::execute() {
  // Where init has failed, the reason is waiting to be read.
  if (auto sent = send(control::Execute{}); !sent && sent.error().code() != EPIPE)
    return std::unexpected(std::move(sent).error());
  return {};
}

Result<Sandbox> Sandbox::start(const Spec& spec) {
  WEIR_TRY(Sandbox sandbox, prepare(spec));
  WEIR_CHECK_OK(sandbox.execute());
  WEIR_CHECK_OK(sandbox.await_start(spec, -1));
  return sandbox;
}

Result<> Sandbox::begin() {
  if (auto applied = identity_.apply_to(init_.pid()); !applied)
    return std::unexpected(with_set_up_remedy(std::move(applied).error()));
  return send(control::Begin{});
}

Result<> Sandbox::send(const control::ToInit& order, std::span<const int> passed) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  return control_.send(control::encode(order, buffer), passed);
}

Result<bool> Sandbox::await_start(const Spec& spec, int interrupt) {
  const std::uint64_t deadline = sys::monotonic_ms() + kStartPatienceMs;
  while (true) {
    WEIR_TRY(const bool done, take_start_message(spec));
    if (done) return true;
    const std::uint64_t now = sys::monotonic_ms();
    if (now >= deadline) return fail("the sandbox did not start within two minutes", ETIMEDOUT);
    // The kernel looks at them in this order: what init said before the interrupt is seen with it, and goes first.
    std::array<pollfd, 2> waiting = {pollfd{.fd = interrupt, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = control_.fd(), .events = POLLIN, .revents = 0}};
    const int ready = ::poll(waiting.data(), waiting.size(), static_cast<int>(deadline - now));
    if (ready < 0 && errno != EINTR) return sys::errno_error("cannot wait for the sandbox");
    if (ready > 0 && waiting[1].revents == 0) return false;
  }
}

// True: nothing more to wait for.
Result<bool> Sandbox::take_start_message(const Spec& spec) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  WEIR_TRY(auto received, control_.receive(buffer));
  if (received.state == sys::Channel::Received::State::nothing) return false;
  if (received.state == sys::Channel::Received::State::closed) return died();
  const auto message = control::decode<control::FromInit>(received.message);
  if (!message) return fail("init of the sandbox broke the protocol");
  if (std::holds_alternative<control::ListenerMade>(*message)) {
    capture_.listener = received.take_passed();
  } else if (std::holds_alternative<control::TunMade>(*message)) {
    capture_.tun = received.take_passed();
  } else if (std::holds_alternative<control::RootMade>(*message) && limiter_) {
    limiter_->take_root(received.take_passed());
  } else if (std::holds_alternative<control::NamespaceMade>(*message)) {
    namespace_socket_ = received.take_passed();
  } else if (std::holds_alternative<control::WrittenMade>(*message) && spec.lives_on) {
    written_ = received.take_passed();
  } else if (std::holds_alternative<control::SealMade>(*message)) {
    seal_ = received.take_passed();
  } else if (std::holds_alternative<control::TerminalMade>(*message)) {
    terminal_ = received.take_passed();
  } else if (const auto* layer = std::get_if<control::LayerMade>(&*message);
             layer != nullptr && spec.shows_layers && layer->share < spec.shares.size()) {
    layers_.push_back({.share = layer->share, .folder = received.take_passed()});
  } else if (const auto* failed = std::get_if<control::Failed>(&*message)) {
    Error error = Error(failed->what, static_cast<int>(failed->code)).with_remedy(failed->remedy);
    return std::unexpected(with_set_up_remedy(std::move(error)));
  } else if (std::holds_alternative<control::Started>(*message)) {
    if (spec.network == Network::captured && !(capture_.listener.valid() && capture_.tun.valid()))
      return fail("init of the sandbox broke the protocol: no capture");
    if (spec.lives_on && !written_.valid()) return fail("init of the sandbox broke the protocol: no files");
    if (spec.seals && !seal_.valid()) return fail("init of the sandbox broke the protocol: no descriptor to seal with");
    return true;
  } else {
    return fail("init of the sandbox broke the protocol");
  }
  return false;
}

std::unexpected<Error> Sandbox::died() {
  if (broken_) return std::unexpected(*broken_);
  const int status = init_.wait().value_or(0);
  for (const LimitHit& hit : limits_reached()) {
    // Before the command started: what the set-up itself needs is more than was given.
    if (hit.limit == LimitHit::Limit::memory)
      return std::unexpected(Error("killed: the memory limit").with_remedy("raise --memory"));
  }
  if (WIFSIGNALED(status)) {
    return fail(std::string("init of the sandbox was ended by SIG") + ::sigabbrev_np(WTERMSIG(status)));
  }
  return fail("init of the sandbox ended unexpectedly");
}

Result<GuestSockets*> Sandbox::serve_sockets(sys::Reactor& reactor) {
  const auto send_order = [this](const control::ToInit& order) { return send(order); };
  WEIR_TRY(sockets_, GuestSockets::create(reactor, std::exchange(namespace_socket_, {}), send_order));
  return sockets_.get();
}

Result<Inside*> Sandbox::serve_inside(sys::Reactor& reactor) {
  if (!lives_on_) return fail("the sandbox runs one command and serves no other");
  inside_ = std::make_unique<Inside>(
      reactor, [this](const control::ToInit& order, std::span<const int> passed) { return send(order, passed); },
      [this](Error reason) {
        broken_ = std::move(reason);
        init_.begin_kill();
      });
  return inside_.get();
}

// False: no message about a socket that was asked for.
bool Sandbox::take_socket_message(const control::FromInit& message, sys::OwnedFd& passed) {
  if (!sockets_ || exited_) return false;
  if (const auto* made = std::get_if<control::SocketMade>(&message))
    return passed.valid() && sockets_->take(*made, passed);
  const auto* failed = std::get_if<control::SocketFailed>(&message);
  return failed != nullptr && !passed.valid() && sockets_->take(*failed);
}

Result<std::optional<Sandbox::Exited>> Sandbox::on_control_readable() {
  // As many as may be owed: nothing else waits long, and one look at the event loop serves many connections.
  for (std::size_t i = 0; i < GuestSockets::kMaxOwed; ++i) {
    WEIR_TRY(const auto taken, take_message());
    if (taken.exited) return taken.exited;
    if (!taken.more) break;
  }
  return std::nullopt;
}

Result<Sandbox::Taken> Sandbox::take_message() {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  WEIR_TRY(auto received, control_.receive(buffer));
  if (received.state == sys::Channel::Received::State::nothing) return Taken{};
  if (received.state == sys::Channel::Received::State::closed) return died();
  const auto message = control::decode<control::FromInit>(received.message);
  sys::OwnedFd passed = received.take_passed();
  if (message && take_socket_message(*message, passed)) return Taken{.more = true, .exited = std::nullopt};
  if (inside_ && message && inside_->take(*message, passed)) return Taken{.more = true, .exited = std::nullopt};
  // Closing one could wait for as long as its SO_LINGER says, which is in a hostile init's hand: not while it lives.
  const bool carries = passed.valid();
  if (carries) unsafe_to_close_.push_back(std::move(passed));
  const auto* exited = message ? std::get_if<control::Exited>(&*message) : nullptr;
  const auto* refused = message ? std::get_if<control::NotExecuted>(&*message) : nullptr;
  // Init shares a world with the guest: a descriptor, a second report or anything else is not for us to interpret.
  if ((exited == nullptr && refused == nullptr) || exited_ || carries)
    return fail("init of the sandbox broke the protocol");
  exited_ = true;
  if (refused != nullptr) return Taken{.more = false, .exited = not_executed(static_cast<int>(refused->code))};
  return Taken{.more = false,
               .exited = Exited{.status = static_cast<int>(exited->status),
                                .user_us = exited->user_us,
                                .system_us = exited->system_us,
                                .max_rss_kib = exited->max_rss_kib}};
}

Sandbox::Exited Sandbox::not_executed(int code) const {
  Exited exited;
  exited.status = W_EXITCODE(code == ENOENT ? 127 : 126, 0);
  exited.not_executed = Error("cannot execute " + command_ + ": " + sys::errno_text(code), code);
  return exited;
}

void Sandbox::forward_signal(int signal) {
  if (!control_.valid() || signal < 1 || signal >= NSIG) return;
  // Fails when init is gone, which the control descriptor tells as well, or has hundreds of signals still to deliver.
  static_cast<void>(send(control::SendSignal{.number = static_cast<std::uint8_t>(signal)}));
}

void Sandbox::forward_window_size() {
  if (!terminal_.valid()) return;
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
    ::ioctl(terminal_.get(), TIOCSWINSZ, &size);
    return;
  }
}

Result<Living> Sandbox::living(std::size_t most) const {
  WEIR_TRY(Living living, living_below(init_.pid(), most));
  if (inside_ && inside_->is_at_work()) living.any = true;
  return living;
}

std::uint64_t Sandbox::memory_used() const {
  const auto used = memory_of_tree(init_.pid(), kUncountable);
  return used && *used != kUncountable ? *used : 0;
}

Result<bool> Sandbox::look_at_limits() {
  return limiter_->look(init_.pid());
}

std::vector<LimitHit> Sandbox::limits_reached() {
  return limiter_ ? limiter_->finish() : std::vector<LimitHit>();
}

void Sandbox::kill() {
  init_.kill();
  namespaces_ = {};
  unsafe_to_close_.clear();
  placeholders_.remove();
}

}  // namespace weir::sandbox
