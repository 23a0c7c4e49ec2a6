// What gateway and supervisor say to each other, over a SOCK_SEQPACKET pair: packets of several messages (batch.h).
//
// Towards the supervisor nothing but numbers, addresses and canonical names travels; the supervisor believes none of it
// without admit(). Towards the gateway at most one descriptor rides along, and only where the message says so.
// Reasons and layers are the numbers of policy::Reason and policy::Layer; the receiver checks their range.
#pragma once

#include <variant>
#include <vector>

#include "control/codec.h"

namespace weir::control {

// Whether the gateway has already resolved the names that the supervisor asked it to (so that it is asked once only).
enum class Resolution : std::uint8_t { not_tried, tried, count_ };

// --- gateway to supervisor -------------------------------------------------------------------------------------------

// Through which door of the gateway a connection came.
enum class Entry : std::uint8_t { transparent, http, socks, count_ };

// A SYN, the first datagram of a flow, or a request to an explicit proxy, for `destination`: judge it, dial it.
// Answered by ConnectAnswer. Every Connect has a higher flow number than the one before, also when it asks again.
//
// With a `name` (explicit proxies only) that name is the only candidate. Asked first without an address (Resolution
// not_tried): judged by name alone, and answered with `resolve` or a refusal; then with each address that it has.
struct Connect {
  std::uint64_t flow = 0;
  net::Protocol protocol = net::Protocol::tcp;
  net::Endpoint destination;  // port 0 for ICMP echo
  Resolution resolution = Resolution::not_tried;
  Entry entry = Entry::transparent;
  std::optional<net::DomainName> name = {};

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.protocol);
    visit(self.destination);
    visit(self.resolution);
    visit(self.entry);
    visit(self.name);
  }
};

// The first flight (or a further request head) of a held flow. Answered by FlightAnswer.
struct Flight {
  enum class Kind : std::uint8_t { tls, http, opaque, h2c_preface, malformed, count_ };

  std::uint64_t flow = 0;
  Kind kind = Kind::opaque;
  std::optional<net::DomainName> name = {};
  bool name_present = false;
  bool ech = false;
  Resolution resolution = Resolution::not_tried;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.kind);
    visit(self.name);
    visit(self.name_present);
    visit(self.ech);
    visit(self.resolution);
  }
};

// Upstream answered: which of these addresses may the guest see and use? Answered by LearnAnswer.
struct Learn {
  std::uint64_t query = 0;
  std::optional<net::DomainName> name;  // always present in a valid message
  std::vector<net::DomainName> aliases;
  std::vector<net::IpAddress> addresses;
  std::uint32_t ttl = 0;
  std::uint16_t type = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.query);
    visit(self.name);
    visit(self.aliases);
    visit(self.addresses);
    visit(self.ttl);
    visit(self.type);
  }
};

// For the record: a name was answered without a Learn (from the cache, or another record type).
struct NameAnswered {
  std::optional<net::DomainName> name = {};
  std::uint16_t type = 0;
  std::uint16_t rcode = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.name);
    visit(self.type);
    visit(self.rcode);
  }
};

// For the record: a name was refused. `name` is absent if the question had no host name in it.
struct NameRefused {
  static constexpr std::uint8_t kNoLimit = 255;
  std::optional<net::DomainName> name = {};
  std::uint16_t type = 0;
  std::uint16_t rcode = 0;
  std::uint8_t reason = 0;
  std::uint8_t layer = 0;
  std::uint32_t entry = 0;
  std::uint8_t limit = kNoLimit;  // the number of the policy::Limit that was reached

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.name);
    visit(self.type);
    visit(self.rcode);
    visit(self.reason);
    visit(self.layer);
    visit(self.entry);
    visit(self.limit);
  }
};

// A fresh socket to resolver number `server`, please. Answered by ResolverAnswer.
struct OpenResolver {
  std::uint64_t query = 0;
  std::uint8_t server = 0;
  bool tcp = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.query);
    visit(self.server);
    visit(self.tcp);
  }
};

// A flow that was connected is over.
struct FlowClosed {
  std::uint64_t flow = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint32_t error = 0;  // errno that ended it, 0 for an orderly end

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.bytes_up);
    visit(self.bytes_down);
    visit(self.error);
  }
};

// For the record: the gateway refused something by itself (a protocol it does not carry, a spoofed source, ...).
struct Refused {
  enum class Via : std::uint8_t { tcp, udp, icmp, http, socks, other, count_ };

  Via via = Via::other;
  net::Endpoint destination;
  std::uint8_t reason = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.via);
    visit(self.destination);
    visit(self.reason);
  }
};

// For the record: a limit that the gateway keeps was reached. A quota (egress_bytes, egress_bytes_total, ingress_bytes)
// is used up: connections that it concerns are refused from here on.
struct LimitReached {
  // Whose: of what the sandbox asks for, or of what comes in at its published ports.
  enum class Of : std::uint8_t { sandbox, published, count_ };

  std::uint8_t limit = 0;  // the number of the policy::Limit
  Of of = Of::sandbox;
  std::uint64_t flow = 0;  // 0: none
  std::optional<net::DomainName> name = {};

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.limit);
    visit(self.of);
    visit(self.flow);
    visit(self.name);
  }
};

// A Policy and every Cut before it have taken effect: what was cut has been reported as closed.
struct PolicyTaken {
  std::uint64_t generation = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.generation);
  }
};

// Published ports, and sockets beside them, of which a gateway may have copies (InboundPort).
inline constexpr std::size_t kMaxInboundPorts = 512;

// What an InboundTake asked for is done: the next datagram at the port is somebody else's business.
struct InboundTaken {
  std::uint16_t port = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.port);
  }
};

using FromGateway = std::variant<Connect, Flight, Learn, NameAnswered, NameRefused, OpenResolver, FlowClosed, Refused,
                                 LimitReached, PolicyTaken, InboundTaken>;

// --- supervisor to gateway -------------------------------------------------------------------------------------------

// Whether the sandbox's network leads to the gateway. Without it there are only published ports: neither listener nor
// TUN.
enum class Captured : std::uint8_t { no, yes, count_ };

// Who knows where names lead. stand_ins: a proxy of the user's own, so nobody is asked: a Learn without addresses is
// answered with an address that stands for the name.
enum class Names : std::uint8_t { resolved, stand_ins, count_ };

// First message: what the gateway needs to know of its world.
struct Start {
  Captured captured = Captured::yes;
  net::IpAddress guest4;
  net::IpAddress gateway4;
  net::IpAddress guest6;
  net::IpAddress gateway6;
  net::IpAddress host4;  // what host.weir.internal leads to
  net::IpAddress host6;
  std::uint8_t resolvers = 0;  // how many upstream resolvers there are
  bool upstream_ipv6 = false;  // the host has an IPv6 default route
  Names names = Names::resolved;
  std::uint64_t idle_timeout_ms = 0;  // a TCP flow without a byte for so long ends
  // Likewise one of UDP or ICMP echo without a datagram.
  std::uint64_t udp_idle_timeout_ms = 0;
  std::uint64_t datagram_clients = 0;  // of published UDP ports, that there may be at a time

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.captured);
    visit(self.guest4);
    visit(self.gateway4);
    visit(self.guest6);
    visit(self.gateway6);
    visit(self.host4);
    visit(self.host6);
    visit(self.resolvers);
    visit(self.upstream_ipv6);
    visit(self.names);
    visit(self.idle_timeout_ms);
    visit(self.udp_idle_timeout_ms);
    visit(self.datagram_clients);
  }
};

struct ConnectAnswer {
  // connected: the upstream socket rides along. connected_hold: likewise, but no byte of the guest's may go up before
  // its first flight was judged. failed: `error` says how. resolve: ask `name` upstream, Learn it, then Connect again.
  // resolver: port 53 of any address is the gateway's own resolver. Only TCP is ever held.
  enum class Outcome : std::uint8_t { refused, failed, connected, connected_hold, resolve, resolver, count_ };

  std::uint64_t flow = 0;
  Outcome outcome = Outcome::refused;
  std::uint32_t error = 0;
  std::optional<net::DomainName> name = {};
  std::uint8_t reason = 0;  // of a refusal

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.outcome);
    visit(self.error);
    visit(self.name);
    visit(self.reason);
  }
};

struct FlightAnswer {
  // resolve: the name of the flight was never resolved: resolve it, Learn it, send the Flight again.
  enum class Outcome : std::uint8_t { refused, allowed, resolve, count_ };

  std::uint64_t flow = 0;
  Outcome outcome = Outcome::refused;
  std::uint8_t reason = 0;  // of a refusal

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.outcome);
    visit(self.reason);
  }
};

struct LearnAnswer {
  std::uint64_t query = 0;
  std::uint32_t allowed = 0;  // bit i: addresses[i] of the Learn may be shown
  std::uint8_t reason = 0;    // where none is: why the last one is not
  // Where names are not asked: the one address that stands for the name from now on.
  std::vector<net::IpAddress> stand_in = {};

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.query);
    visit(self.allowed);
    visit(self.reason);
    visit(self.stand_in);
  }
};

// With error 0 the connected socket rides along.
struct ResolverAnswer {
  std::uint64_t query = 0;
  std::uint32_t error = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.query);
    visit(self.error);
  }
};

// A connection from outside to a published port (UDP: whoever sent a datagram), already recorded: the client's socket
// rides along. The guest's follows with the next message, which is the InboundGuest of the same flow.
struct InboundClient {
  std::uint64_t flow = 0;
  net::Protocol protocol = net::Protocol::tcp;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.protocol);
  }
};

// The socket rides along that is connected to the port inside. From here on the two are relayed; FlowClosed ends it.
struct InboundGuest {
  std::uint64_t flow = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
  }
};

// A published UDP port's own socket rides along, under this number. Datagrams are read from it when an InboundTake says
// so, and nothing is ever sent from it: it has no peer.
struct InboundPort {
  std::uint16_t port = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.port);
  }
};

// Take the first datagram that waits at the port, which is `client`'s, and keep it for the flow, whose sockets may
// follow later. Answered by InboundTaken.
struct InboundTake {
  std::uint64_t flow = 0;
  std::uint16_t port = 0;
  net::Endpoint client;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
    visit(self.port);
    visit(self.client);
  }
};

// The flow gets no sockets: what was kept for it goes nowhere.
struct InboundGone {
  std::uint64_t flow = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
  }
};

// A flow lost its permission: both its ends are reset, and FlowClosed says ECONNABORTED. Nothing happens to one that is
// over.
struct Cut {
  std::uint64_t flow = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.flow);
  }
};

// The policy from here on, narrower than the one before: a sealed memory file of `size` bytes rides along. Answered by
// PolicyTaken.
struct Policy {
  std::uint64_t generation = 0;
  std::uint64_t size = 0;
  std::uint64_t idle_timeout_ms = 0;  // as in Start, this and the next two
  std::uint64_t udp_idle_timeout_ms = 0;
  std::uint64_t datagram_clients = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.generation);
    visit(self.size);
    visit(self.idle_timeout_ms);
    visit(self.udp_idle_timeout_ms);
    visit(self.datagram_clients);
  }
};

using ToGateway = std::variant<Start, ConnectAnswer, FlightAnswer, LearnAnswer, ResolverAnswer, InboundClient,
                               InboundGuest, InboundPort, InboundTake, InboundGone, Cut, Policy>;

// Whether a descriptor rides along with the message.
inline bool carries_descriptor(const ToGateway& message) {
  using Outcome = ConnectAnswer::Outcome;
  if (std::holds_alternative<InboundClient>(message) || std::holds_alternative<InboundGuest>(message) ||
      std::holds_alternative<InboundPort>(message))
    return true;
  if (const auto* connect = std::get_if<ConnectAnswer>(&message))
    return connect->outcome == Outcome::connected || connect->outcome == Outcome::connected_hold;
  if (std::holds_alternative<Policy>(message)) return true;
  const auto* resolver = std::get_if<ResolverAnswer>(&message);
  return resolver != nullptr && resolver->error == 0;
}

}  // namespace weir::control
