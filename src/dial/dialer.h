// Connects to exactly the address that was admitted.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "net/ip_address.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::dial {

// A connected socket, or the errno that says why not.
struct Dialled {
  sys::OwnedFd socket;
  int error = 0;
};

class Dialer {
 public:
  using OnDone = std::function<void(Dialled)>;

  explicit Dialer(sys::Reactor& reactor);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // TCP, non-blocking, SO_LINGER{1,0}, TCP_NODELAY. on_done is called once, from the event loop or right away. Silence
  // for `timeout_ms` ends as ETIMEDOUT.
  void connect(const net::Endpoint& to, std::uint64_t timeout_ms, OnDone on_done);

  // How many connects are under way.
  std::size_t pending() const { return pending_.size(); }

 private:
  struct Attempt;
  void finish(Attempt& attempt, int error);

  sys::Reactor& reactor_;
  std::unordered_map<Attempt*, std::unique_ptr<Attempt>> pending_;
};

// A UDP socket with a fresh source port, connected, so that only `to` can answer.
Result<sys::OwnedFd> connected_udp(const net::Endpoint& to);

}  // namespace weir::dial
