// A running sandbox, as the supervisor holds it.
//
//   supervisor                            init (pid 1 inside, a clone with new namespaces)
//   claim ids, take shares
//   clone3 ------------------------------> waits
//   write id maps, Begin ----------------> network; meanwhile a thread of its own fills the root
//   prepare() returns                      root, capabilities, system calls
//   execute(): Execute ------------------> the command
//   take listener, TUN, terminal <-------- ListenerMade, TunMade, TerminalMade
//   await_start() returns <--------------- Started, right before execve()
//   on_control_readable() <--------------- Exited, or NotExecuted where execve() refused
//
// Init dies with the supervisor's main thread (parent-death signal, and the channel's end), and everything inside dies
// with init. Nothing on the host outlives that: all mounts are in a namespace of their own, no folder is made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "control/init_messages.h"
#include "sandbox/identity.h"
#include "sandbox/limits/limiter.h"
#include "sandbox/living/inside.h"
#include "sandbox/living/process_tree.h"
#include "sandbox/network/capture.h"
#include "sandbox/network/guest_sockets.h"
#include "sandbox/root/session_mounts.h"
#include "sandbox/shares/placeholders.h"
#include "sandbox/spec.h"
#include "sys/channel.h"
#include "sys/child_process.h"

namespace weir::sandbox {

class Sandbox {
 public:
  // How the command ended.
  struct Exited {
    int status = 0;  // as waitpid() gives it
    // Of every process of the sandbox that was waited for.
    std::uint64_t user_us = 0;
    std::uint64_t system_us = 0;
    std::uint64_t max_rss_kib = 0;
    // The sandbox stood, but execve() refused the command. The status is a shell's: 127 where there is no such command,
    // 126 otherwise.
    std::optional<Error> not_executed = {};
  };

  // Begins a sandbox, which builds itself while the caller does something else; nothing of the command runs yet. Needs
  // no privilege; as root the sandbox gets ids of its own. Call from the main thread, in a process without other
  // threads, and keep that thread alive.
  static Result<Sandbox> prepare(const Spec& spec);
  // The same for a Spec that lies over what another sandbox has (Spec::over_session), which lives on and outlives this
  // one: with its ids, under its limits, over its files as they are now; nothing of the other is changed. Nobody else
  // writes to those files meanwhile.
  static Result<Sandbox> prepare_over(const Sandbox& session, const Spec& spec);
  // Lets the command run, once.
  Result<> execute();
  // After execute(). True: the network is captured and the command runs, or has. False: `interrupt` (a descriptor, or
  // -1) is readable and the command had not begun by then; to be called again, or the sandbox to be killed. Blocks at
  // most kStartPatience. After an error the sandbox is to be killed. `spec`: the same.
  Result<bool> await_start(const Spec& spec, int interrupt);
  // The same for an event loop, whenever control_fd() is readable. True: it has started, which is said once.
  Result<bool> on_start_readable(const Spec& spec) { return take_start_message(spec); }
  // All three, for who has nothing to do meanwhile.
  static Result<Sandbox> start(const Spec& spec);

  Sandbox(Sandbox&&) noexcept = default;
  Sandbox& operator=(Sandbox&&) = delete;
  ~Sandbox() { kill(); }

  // The descriptors of a captured network; once. Empty for other networks.
  Capture take_capture() { return std::move(capture_); }

  // What the command wrote into an overlay instead of the shared folder.
  struct Layer {
    std::size_t share = 0;  // place in Spec::shares
    sys::OwnedFd folder;    // a hostile tree; still once kill() has returned
  };
  // Where Spec::shows_layers is set; once.
  std::vector<Layer> take_layers() { return std::move(layers_); }

  // Of a sandbox that lives on: what everything outside of shares is written into, a hostile tree from the first
  // process on; once. The private root, or (is_layered()) the upper layer of its overlay.
  sys::OwnedFd take_written() { return std::move(written_); }
  // The ids of its user namespace.
  const Identity& identity() const { return identity_; }

  // Where Spec::seals is set, after the start: the other end of the command's descriptor; once. Never to be read from
  // or closed: what is there may carry descriptors, and closing those could wait for as long as the guest likes.
  sys::OwnedFd take_seal() { return std::move(seal_); }

  // After the start of a Spec with published ports: what opens sockets inside. The sandbox stays where it is from here
  // on. Once.
  Result<GuestSockets*> serve_sockets(sys::Reactor& reactor);

  // After the start of a Spec that lives on: what is asked for inside. The sandbox stays where it is from here on.
  // Once.
  Result<Inside*> serve_inside(sys::Reactor& reactor);

  // For the event loop: readable when on_control_readable() has something to do.
  int control_fd() const { return control_.fd(); }
  // Nothing: nothing yet. Otherwise the sandbox is over. An error: init broke the protocol or died; the sandbox is to
  // be killed.
  Result<std::optional<Exited>> on_control_readable();

  // Readable when everything inside has ended. -1 after kill().
  int init_pidfd() const { return init_.pidfd(); }

  // To the command and its process group. A sandbox that has ended does not mind.
  void forward_signal(int signal);

  // The master of the sandbox's terminal (Spec::terminal), or -1. See sandbox/terminal.h.
  int terminal() const { return terminal_.get(); }
  // Gives the terminal the size that the caller's has now.
  void forward_window_size();

  // What lives inside besides init, as it is seen from outside; at most `most` are named. Of what was asked for and may
  // begin yet the host's procfs knows nothing: it counts.
  Result<Living> living(std::size_t most) const;

  // Bytes that what lives inside has in memory now, by the kernel's cheap counters; 0 where they cannot be had.
  std::uint64_t memory_used() const;
  // Whether look_at_limits() is to be called every Limiter::kWatchMs.
  bool has_watched_limits() const { return limiter_ && limiter_->looks(); }
  // True: the memory limit is exceeded; the sandbox is to be killed.
  Result<bool> look_at_limits();
  // After kill(): which limits were reached.
  std::vector<LimitHit> limits_reached();

  // Begins to end everything inside; kill() is still to be called.
  void begin_kill() { init_.begin_kill(); }
  // Ends everything inside and waits until it is gone. Idempotent; the destructor does it.
  void kill();

 private:
  Sandbox(Identity identity, std::optional<Limiter> limiter, Placeholders placeholders, sys::ChildProcess init,
          sys::Channel control)
      : identity_(std::move(identity)),
        limiter_(std::move(limiter)),
        placeholders_(std::move(placeholders)),
        init_(std::move(init)),
        control_(std::move(control)) {}
  struct Parts;
  static Result<Sandbox> clone_init(const Spec& spec, Parts parts);
  Result<> begin();
  Result<> send(const control::ToInit& order, std::span<const int> passed = {});
  Result<bool> take_start_message(const Spec& spec);
  bool take_socket_message(const control::FromInit& message, sys::OwnedFd& passed);
  struct Taken {
    bool more = false;  // there may be another message
    std::optional<Exited> exited = {};
  };
  Result<Taken> take_message();
  std::unexpected<Error> died();
  Exited not_executed(int code) const;

  // Destroyed last: the ids stay taken while anything inside may live.
  Identity identity_;
  std::optional<Limiter> limiter_;
  Placeholders placeholders_;
  sys::ChildProcess init_;
  Namespaces namespaces_;  // of a sandbox that lives on
  sys::Channel control_;
  Capture capture_;
  sys::OwnedFd terminal_;
  std::vector<Layer> layers_;
  sys::OwnedFd written_;
  sys::OwnedFd namespace_socket_;
  sys::OwnedFd seal_;
  std::unique_ptr<GuestSockets> sockets_;
  std::unique_ptr<Inside> inside_;
  std::vector<sys::OwnedFd> unsafe_to_close_;  // before kill(): what init passed unasked
  std::string command_;                        // for people
  std::optional<Error> broken_;                // why the sandbox was ended from here
  bool lives_on_ = false;
  bool exited_ = false;
};

}  // namespace weir::sandbox
