// Holds what the guest sends until the name in it was judged (policy.md section 4 "First flight").
//
//   sniffing ──TLS ClientHello / no known protocol──> asking ──allowed──> open: everything passes
//        └─────HTTP/1 request────────────────────────> judging, for *every* request head of the connection
//
// The gate decides nothing: it finds the name and asks the supervisor. Whatever starts like TLS or HTTP and then is not
// well-formed, not complete in time or too large is refused as malformed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "control/gateway_messages.h"
#include "gateway/link.h"
#include "gateway/resolver/resolver.h"
#include "gateway/tcp/relay.h"
#include "wire/first_flight.h"
#include "wire/http1.h"

namespace weir::gateway {

class FirstFlightGate : public Gate {
 public:
  static constexpr std::uint64_t kDeadlineMs = 10'000;  // from the first byte; on 80 and 443 from accept

  FirstFlightGate(sys::Reactor& reactor, Link& link, Resolver& resolver, std::uint64_t flow, net::Port port);
  ~FirstFlightGate() override;

  Step judge(Bytes held) override;
  Step judge_end(Bytes held) override;
  void on_answer(const control::FlightAnswer& answer) override;

 private:
  enum class Phase : std::uint8_t { sniffing, requests, asking, allowed, refused };

  Step sniff(Bytes fresh);
  Step read_requests(Bytes held);
  Step pass(std::size_t count);
  Step ask(control::Flight flight);
  Step ask_for_request(const wire::RequestHead& head);
  Step ask_for_fault(wire::HttpFault fault);
  void ask_with_resolution(control::Resolution resolution);
  void start_deadline();

  sys::Reactor& reactor_;
  Link& link_;
  Resolver& resolver_;
  control::Flight flight_;  // the question last asked
  Phase phase_ = Phase::sniffing;
  bool at_head_ = false;      // the question is about a whole, well-formed request head, which the stream waits to pass
  std::size_t fed_ = 0;       // of the held bytes, to whatever reads them in this phase
  std::size_t passable_ = 0;  // of those, from the front: bodies of approved requests and approved heads
  wire::FirstFlightSniffer sniffer_;
  std::unique_ptr<wire::RequestStream> stream_;
  std::optional<net::DomainName> approved_;  // the name of the last request that was allowed
  sys::Reactor::TimerId deadline_ = 0;
  // Callbacks that come later find out here whether the gate still exists.
  std::shared_ptr<FirstFlightGate*> self_;
};

}  // namespace weir::gateway
