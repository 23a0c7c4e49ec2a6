// Connects through a proxy of the user's own: what is passed on is a tunnel that stands.
//
// The handshake is made here and not in the gateway, which reads what the guest writes: it would have the credentials,
// and a connection to the proxy on which to ask for anything. What the proxy answers is read by wire::TunnelClient, and
// not a byte beyond the handshake.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>

#include "dial/dialer.h"
#include "net/domain_name.h"
#include "policy/compiled/image.h"
#include "wire/authority.h"

namespace weir::dial {

// A proxy and what it is told about who asks: "user:password", or empty.
struct EgressRoute {
  policy::EgressProxy proxy;
  std::string credentials;
};

class EgressDialer {
 public:
  // A proxy that says nothing is given up then, also where the policy waits longer for a connection.
  static constexpr std::uint64_t kLongestMs = 120'000;

  EgressDialer(sys::Reactor& reactor, Dialer& dialer);
  ~EgressDialer();
  EgressDialer(const EgressDialer&) = delete;
  EgressDialer& operator=(const EgressDialer&) = delete;

  // As Dialer::connect(), to `target` (with a port) through `route`, which outlives this object; `timeout_ms` is for
  // all of it.
  Dialer::Id connect(const EgressRoute& route, const wire::Authority& target, std::uint64_t timeout_ms,
                     Dialer::OnDone on_done);
  void cancel(Dialer::Id id);

  // Says nothing to any proxy until go_on().
  void suspend();
  void go_on();

 private:
  struct Tunnel;
  void talk(Tunnel& tunnel);
  void connected(Dialer::Id id, Dialled dialled);
  void finish(Dialer::Id id, Dialled dialled);

  sys::Reactor& reactor_;
  Dialer& dialer_;
  Dialer::Id last_id_ = 0;
  bool suspended_ = false;
  std::unordered_map<Dialer::Id, std::unique_ptr<Tunnel>> tunnels_;
};

}  // namespace weir::dial
