// Sockets inside the sandbox for its published ports: init opens them, the supervisor checks each before it is used.
//
// Init shares a world with the guest, so what it hands over is hostile. A socket counts only if it is of the family,
// type and protocol that was asked for, lives in the network namespace that was made before the command's first
// instruction, does not listen, and is connected to the port that was asked for. The namespace is what matters:
// whatever becomes of the socket later (a hostile init may keep a copy and connect it anew), it leads nowhere but the
// rest of the sandbox does. Nothing here reads from the socket or waits on it: whether it blocks is in a hostile init's
// hand.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "control/init_messages.h"
#include "net/ip_address.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::sandbox {

// Init's side, in the sandbox's network namespace: a socket whose namespace will be known again.
Result<sys::OwnedFd> open_namespace_socket();
// Init's side: non-blocking; for TCP the connect may be under way. The error's code is an errno.
Result<sys::OwnedFd> begin_connect(const control::OpenSocket& wanted);

// Init's side: begins it, and answers over `send`.
void serve_socket(const control::OpenSocket& wanted,
                  const std::function<Result<>(const control::FromInit&, int passed)>& send);

class GuestSockets {
 public:
  // A connected socket (SO_LINGER{1,0}, TCP_NODELAY, non-blocking as far as init is honest), or the errno that says why
  // not.
  struct Opened {
    sys::OwnedFd socket;
    int error = 0;
  };
  using OnDone = std::function<void(Opened)>;
  using Send = std::function<Result<>(const control::ToInit&)>;

  // Sockets that init owes at a time: descriptors on their way, and room in its channel.
  static constexpr std::size_t kMaxOwed = 128;

  // `reference`: what open_namespace_socket() gave, received before the command started. An error where the kernel does
  // not tell network namespaces apart (before 5.14).
  static Result<std::unique_ptr<GuestSockets>> create(sys::Reactor& reactor, const sys::OwnedFd& reference, Send send);
  ~GuestSockets();
  GuestSockets(const GuestSockets&) = delete;
  GuestSockets& operator=(const GuestSockets&) = delete;

  // Whether one more may be asked for.
  bool has_room() const { return owed_.size() + unsafe_to_close_.size() < kMaxOwed; }
  // TCP or UDP. `on_done` is called once, from the event loop or right away, unless this object dies before. Silence
  // for `timeout_ms` is ETIMEDOUT; without has_room() it is EAGAIN.
  void open(net::Protocol protocol, const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done);

  // What init says. False: nobody asked for it, or it is not what was asked for; init is not to be believed any more.
  // `socket` is taken over only with true.
  bool take(const control::SocketMade& made, sys::OwnedFd& socket);
  bool take(const control::SocketFailed& failed);

 private:
  struct Owed;
  GuestSockets(sys::Reactor& reactor, std::uint64_t cookie, Send send);
  bool is_as_asked(const control::OpenSocket& asked, int socket) const;
  enum class Phase : std::uint8_t { handed_over, ready };
  void look_at(Owed& owed, Phase phase);
  void answer(Owed& owed, int error);
  void finish(std::uint64_t id, int error);
  void drop(sys::OwnedFd socket);

  sys::Reactor& reactor_;
  std::uint64_t namespace_;
  Send send_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Owed>> owed_;
  std::vector<sys::OwnedFd> unsafe_to_close_;  // before the sandbox is dead
};

}  // namespace weir::sandbox
