// Connects to exactly the address that was admitted.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "net/ip_address.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::dial {

// A connected socket, or the errno that says why not.
struct Dialled {
  sys::OwnedFd socket;
  int error = 0;
  // Where the error is that of a proxy of the user's own: what it did, for the record ("HTTP 403").
  std::string proxy_said = {};
};

class Dialer {
 public:
  using OnDone = std::function<void(Dialled)>;
  // Of one connect, never used again.
  using Id = std::uint64_t;

  explicit Dialer(sys::Reactor& reactor);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // TCP, non-blocking, SO_LINGER{1,0}, TCP_NODELAY. on_done is called once, from the event loop or right away. Silence
  // for `timeout_ms` ends as ETIMEDOUT.
  Id connect(const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done);

  // Ends a connect that is under way: its socket closes, on_done is not called. Harmless for one that has ended.
  void cancel(Id id);

  // How many connects are under way.
  std::size_t pending() const { return pending_.size(); }

 private:
  struct Attempt;
  void start(Id id, const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done);
  void finish(Id id, int error);
  std::unique_ptr<Attempt> take_out(Id id);

  sys::Reactor& reactor_;
  Id last_id_ = 0;
  std::unordered_map<Id, std::unique_ptr<Attempt>> pending_;
};

// A UDP socket with a fresh source port, connected, so that only `to` can answer.
Result<sys::OwnedFd> connected_udp(const net::Endpoint& to);

// The socket of one flow of datagrams, connected to the address that was admitted; ICMP errors queue in it
// (IP_RECVERR). Echo: an unprivileged ping socket (EACCES where net.ipv4.ping_group_range leaves this user out), which
// sends echo requests only, under an identifier of its own; `to` has port 0. Its replies may come from anybody who
// guesses the identifier: the reader compares the source with getpeername().
Dialled datagram_socket(net::Protocol protocol, const net::Endpoint& to);

}  // namespace weir::dial
