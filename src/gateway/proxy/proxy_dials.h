// From what an explicit proxy was asked for to a connected socket: the supervisor judges the name, the resolver
// resolves it, the supervisor judges each address that is tried and dials it.
//
//   name ──Connect without address──> resolve ──A, then AAAA──> Connect to the address ──> connected, refused, failed
//   literal ──────────────────────────────────────────────────> Connect to the address
//
// Addresses are tried one after the other, IPv4 first. A refusal ends it: the next address would be refused for the
// same name and port, and one attempt is one record.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "control/gateway_messages.h"
#include "gateway/link.h"
#include "gateway/resolver/resolver.h"
#include "policy/compiled/verdict.h"
#include "wire/authority.h"

namespace weir::gateway {

struct ProxyDialled {
  // unresolved: the name server's trouble, or no such name. resolver: port 53 is the gateway's own resolver.
  enum class Outcome : std::uint8_t { connected, refused, failed, unresolved, resolver };

  Outcome outcome = Outcome::refused;
  // Of a refusal, as the guest may know it; of a failure upstream_proxy, where it was that proxy's.
  policy::Reason reason = policy::Reason::no_rule;
  int error = 0;           // of a failure
  std::uint64_t flow = 0;  // of a connection: FlowClosed is due at its end
  bool hold = false;       // the first flight is to be judged before a byte goes up
  sys::OwnedFd upstream;
};

// Not the policy's word on the destination: asked again later, the answer may be another.
bool is_overload(policy::Reason reason);

class ProxyDials {
 public:
  using Id = std::uint64_t;
  using OnDone = std::function<void(ProxyDialled)>;

  static constexpr std::size_t kMaxAddresses = 8;  // of one name that are tried

  ProxyDials(Link& link, Resolver& resolver) : link_(link), resolver_(resolver) {}

  // `target` with a port. on_done is called once, from the event loop, never from here.
  Id start(control::Entry entry, wire::Authority target, OnDone on_done);
  // on_done is not called; harmless for one that has ended.
  void cancel(Id id);

  // False if the answer is for somebody else: `upstream` is then untouched.
  bool on_answer(const control::ConnectAnswer& answer, sys::OwnedFd& upstream);

 private:
  struct Dial {
    control::Entry entry = control::Entry::http;
    wire::Authority target;
    OnDone on_done;
    std::uint64_t flow = 0;                 // of the question under way; 0 while the resolver is asked
    std::vector<net::IpAddress> addresses;  // not tried yet, the next one last
    bool asked_ipv6 = false;
    ProxyDialled last;  // what is said if nothing better comes
  };

  void ask(Id id, const net::IpAddress& address, control::Resolution resolution);
  void resolve(Id id, wire::dns::Type type);
  void resolved(Id id, const Outcome& outcome);
  void try_next(Id id);
  void resolve_again(Id id, const net::DomainName& name);
  void finish(Id id, ProxyDialled result);

  Link& link_;
  Resolver& resolver_;
  Id last_id_ = 0;
  std::unordered_map<Id, Dial> dials_;
  std::unordered_map<std::uint64_t, Id> by_flow_;
};

}  // namespace weir::gateway
