// The one decision function. Pure: everything it depends on is an argument; it asks no clock and no kernel.
//
// Every way out (transparent TCP, UDP, ICMP, DNS, proxies, published ports) ends here, with the address that will be
// dialled. Semantics: policy.md section 3.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "net/domain_name.h"
#include "net/ip_address.h"
#include "policy/compiled/host_facts.h"
#include "policy/compiled/image.h"
#include "policy/compiled/verdict.h"

namespace weir::policy {

// A live name that leads to the address of a request. `aliases` are the other names of its CNAME chain: allow looks at
// `name` only, deny at every name.
struct NameCandidate {
  const net::DomainName* name = nullptr;
  std::span<const net::DomainName> aliases;
};

struct Request {
  net::Protocol protocol = net::Protocol::tcp;
  net::IpAddress address;
  net::Port port = 0;  // 0 for ICMP
  std::span<const NameCandidate> names;
  // False for an explicit proxy that was given a name: that name is then the only candidate.
  bool nameless_candidate = true;
};

// May the guest talk to exactly this address now?
Verdict admit(const Image& image, const HostFacts& facts, const Request& request);

// Are published ports served? Only mode none closes them, which a sandbox can have that was narrowed to it.
Verdict admit_inbound(const Image& image);

// What the first flight of an admitted, held connection turned out to be.
enum class FlightKind : std::uint8_t {
  tls,          // a complete, well-formed ClientHello
  http,         // a complete, well-formed HTTP/1 request head
  opaque,       // anything else
  h2c_preface,  // HTTP/2 prior knowledge
  malformed,    // starts like TLS or HTTP and is not well-formed, not complete in time, or too large
};

struct FirstFlight {
  FlightKind kind = FlightKind::opaque;
  std::optional<net::DomainName> name;  // SNI or authority, if it is exactly one valid host name
  bool name_present = false;            // there was an SNI or Host, though perhaps not a usable one (literal, several)
  bool ech = false;

  friend bool operator==(const FirstFlight&, const FirstFlight&) = default;
};

// Judges the first flight: policy.md section 4 "First flight". `flight.name` must be among request.names if it leads to
// the address (the caller has resolved it when it was not in the name book).
Verdict admit_first_flight(const Image& image, const HostFacts& facts, const Request& request,
                           const FirstFlight& flight);

// DNS: may this name be asked upstream at all, and how is it refused otherwise?
enum class NameAnswer : std::uint8_t {
  ask,           // some entry could allow some address of it: ask upstream, judge each address
  nxdomain,      // refused: no allowed name at or below it
  nodata,        // refused: an ancestor of an allowed name, or a record type that the policy does not list
  localhost,     // answer loopback
  host_service,  // host.weir.internal: the fixed address of weir0
  gateway,       // gateway.weir.internal: the resolver's own address
};
struct NameVerdict {
  NameAnswer answer = NameAnswer::nxdomain;
  Reason reason = Reason::no_rule;
  RuleRef rule;
};
// `type` is the DNS QTYPE. The three answers that weir gives itself come for every type: where the type is neither A
// nor AAAA, answer NODATA. In an allowlist a name is asked only if an entry names it, or all of @public or a family
// (0.0.0.0/0) is allowed: an allowed CIDR is no reason to carry every name upstream.
NameVerdict judge_name(const Image& image, const net::DomainName& name, std::uint16_t type);

// Who chose the letters of a name that is asked: the policy, or the guest, below a wildcard. (In `public`, or where all
// of @public is allowed, names say nothing about what is allowed: `policy`.)
enum class NameChoice : std::uint8_t { policy, guest };
NameChoice chosen_by(const Image& image, const net::DomainName& name);

// DNS: may this address be shown to the guest as an answer for `candidate`? It may if some protocol and port exist at
// which the candidate survives admit().
Verdict judge_answer(const Image& image, const HostFacts& facts, const NameCandidate& candidate,
                     const net::IpAddress& address);

// True for the one exception to "port 53 ends at the resolver": session and run (where there is one) each name exactly
// this address with port 53 written out (policy.md section 4). Ask admit() as well: a deny still counts.
bool passes_port_53(const Image& image, const net::IpAddress& address, net::Protocol protocol = net::Protocol::tcp);

}  // namespace weir::policy
