// How one layer judges one candidate (policy.md section 3, steps 1-4 and the soft floor). Internal to this room.
#pragma once

#include <optional>
#include <vector>

#include "policy/compiled/admit.h"
#include "policy/compiled/layer_view.h"
#include "policy/compiled/own_names.h"

namespace weir::policy {

// An address and where it stands; for a NAT64 address also the IPv4 address inside, which must pass too.
struct Place {
  net::IpAddress address;
  Standing standing;
  // Where a name leads that nobody here resolves: some public address, which no CIDR but a whole family contains.
  bool unknown = false;

  static Place of_unresolved_name() {
    return {.address = {}, .standing = {.classes = {AddressClass::publicly}, .hard = false}, .unknown = true};
  }
};
// Every posting of a CIDR that the place may lie in. visit(const Posting&, const net::Cidr&).
template <class Visit>
void for_place(const LayerView& layer, const Place& place, Visit visit) {
  if (!place.unknown) return layer.for_address(place.address, visit);
  const auto of_family = [&](const Posting& posting, const net::Cidr& cidr) {
    if (cidr.length() == 0) visit(posting, cidr);
  };
  layer.for_address(net::IpAddress::v4({0, 0, 0, 0}), of_family);
  layer.for_address(net::IpAddress(), of_family);
}
struct Destination {
  Place outer;
  std::optional<Place> inner;

  bool hard() const { return outer.standing.hard || (inner && inner->standing.hard); }
};
Destination look_at(const Image& image, const HostFacts& facts, const net::IpAddress& address);

// One of weir's own listeners, published ports or API (hard floor).
bool is_own_listener(const Image& image, const HostFacts& facts, const Destination& destination,
                     const net::Endpoint& endpoint);

struct Question {
  net::Protocol protocol;
  net::Port port;
  const NameCandidate* candidate;  // nullptr: the nameless one
};

// What became of a candidate. `progress` orders refusals: the one that came further says more.
struct Outcome {
  bool allowed = false;
  Reason reason = Reason::no_rule;
  RuleRef rule;
  unsigned progress = 0;
  bool by_default_or_class = false;  // nobody named this very destination
  bool accepts_ech = true;

  bool denied() const { return !allowed && reason == Reason::denied_by_rule; }
};

// Every layer, every form of the address; the hard floor is the caller's business. An allowed outcome carries the rule
// of the innermost layer.
Outcome judge_candidate(const Image& image, const HostFacts& facts, const Destination& destination,
                        const Question& question);

// All candidates of a request.
struct Survey {
  std::vector<Outcome> named;              // in the order of the request
  std::optional<Outcome> nameless;         // absent: not a candidate, or dropped
  bool nameless_dropped_for_need = false;  // by require_name, and it would have survived
};
Survey survey(const Image& image, const HostFacts& facts, const Destination& destination, const Request& request);

}  // namespace weir::policy
