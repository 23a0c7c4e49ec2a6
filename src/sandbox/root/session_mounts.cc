#include "sandbox/root/session_mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "control/init_messages.h"
#include "sys/channel.h"
#include "sys/errno.h"
#include "sys/mounts.h"
#include "sys/reactor.h"

namespace weir::sandbox {
namespace {

constexpr std::uint64_t kPatienceMs = 5'000;
constexpr std::uint64_t kLooksOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

Result<> say(sys::Channel& to, const control::FromInit& message, int passed = -1) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  return to.send(control::encode(message, buffer), passed);
}

Result<sys::OwnedFd> take_overlay(const std::string& target) {
  WEIR_TRY(const sys::OwnedFd place, sys::open_without_links(target));
  struct statfs status{};
  if (::fstatfs(place.get(), &status) != 0) return sys::errno_error("cannot look at " + target);
  if (static_cast<unsigned long>(status.f_type) != OVERLAYFS_SUPER_MAGIC)
    return fail(target + " inside is not the share that was put there");
  return sys::clone_mount(place.get(), "", sys::Submounts::left_out, kLooksOnly);
}

// Every right here is one over the sandbox's own user namespace.
Result<> take_all(const Namespaces& namespaces, const Spec& spec, sys::Channel& to) {
  if (::setns(namespaces.user.get(), CLONE_NEWUSER) != 0) return sys::errno_error("cannot enter the session's ids");
  if (::setns(namespaces.mount.get(), CLONE_NEWNS) != 0) return sys::errno_error("cannot enter the session's files");
  WEIR_TRY(const sys::OwnedFd root, sys::clone_mount(AT_FDCWD, "/", sys::Submounts::left_out, kLooksOnly));
  WEIR_CHECK_OK(say(to, control::WrittenMade{}, root.get()));
  for (std::uint32_t i = 0; i < spec.shares.size(); ++i) {
    const Share& share = spec.shares[i];
    if (share.of != Share::Of::session) continue;
    WEIR_TRY(const sys::OwnedFd mount, in_context(take_overlay(share.target), "the share " + share.target));
    WEIR_CHECK_OK(say(to, control::LayerMade{.share = i}, mount.get()));
  }
  return say(to, control::Started{});
}

[[noreturn]] void become_taker(const Namespaces& namespaces, const Spec& spec, sys::Channel to) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "weir-mounts", 0, 0, 0);
  const bool alone = sys::close_all_but({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, to.fd(), namespaces.user.get(),
                                         namespaces.mount.get()})
                         .has_value();
  if (!alone) ::_exit(1);
  if (auto taken = take_all(namespaces, spec, to); !taken) {
    const Error& error = taken.error();
    static_cast<void>(
        say(to, control::Failed{
                    .code = static_cast<std::uint32_t>(error.code()), .what = error.what(), .remedy = error.remedy()}));
  }
  ::_exit(0);
}

// True: that was all.
Result<bool> take_message(sys::Channel& from, const Spec& spec, SessionMounts& mounts) {
  std::array<std::uint8_t, control::kMaxMessage> buffer;
  WEIR_TRY(auto received, from.receive(buffer));
  if (received.state == sys::Channel::Received::State::nothing) return false;
  if (received.state == sys::Channel::Received::State::closed)
    return fail("who was to take the session's files ended before it had them");
  const auto message = control::decode<control::FromInit>(received.message);
  if (!message) return fail("who was to take the session's files talks nonsense");
  if (const auto* failed = std::get_if<control::Failed>(&*message))
    return std::unexpected(Error(failed->what, static_cast<int>(failed->code)).with_remedy(failed->remedy));
  if (std::holds_alternative<control::WrittenMade>(*message)) mounts.root = received.take_passed();
  const auto* layer = std::get_if<control::LayerMade>(&*message);
  if (layer != nullptr && layer->share < spec.shares.size()) mounts.shares[layer->share] = received.take_passed();
  return std::holds_alternative<control::Started>(*message);
}

Result<sys::OwnedFd> open_namespace(pid_t process, const char* name) {
  const std::string path = "/proc/" + std::to_string(process) + "/ns/" + name;
  return sys::checked_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "cannot open " + path);
}

}  // namespace

Result<Namespaces> Namespaces::of(const sys::ChildProcess& child) {
  Namespaces namespaces;
  WEIR_TRY(namespaces.user, open_namespace(child.pid(), "user"));
  WEIR_TRY(namespaces.mount, open_namespace(child.pid(), "mnt"));
  return namespaces;
}

Result<SessionMounts> take_session_mounts(const Namespaces& namespaces, const Spec& spec) {
  WEIR_TRY(auto channels, sys::Channel::pair());
  auto& [ours, theirs] = channels;
  WEIR_TRY(const sys::ChildProcess child, sys::ChildProcess::clone(0));
  if (child.in_child()) become_taker(namespaces, spec, std::move(theirs));
  theirs = sys::Channel();
  SessionMounts mounts;
  mounts.shares.resize(spec.shares.size());
  const std::uint64_t deadline = sys::monotonic_ms() + kPatienceMs;
  while (true) {
    WEIR_TRY(const bool done, take_message(ours, spec, mounts));
    if (done) return mounts;
    const std::uint64_t now = sys::monotonic_ms();
    if (now >= deadline) return fail("the session's files could not be taken within 5 s", ETIMEDOUT);
    pollfd waiting{.fd = ours.fd(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(deadline - now)) < 0 && errno != EINTR)
      return sys::errno_error("cannot wait for the session's files");
  }
}

}  // namespace weir::sandbox
