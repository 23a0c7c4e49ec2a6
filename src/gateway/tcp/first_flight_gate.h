// Holds what the guest sends until the name in it was judged (policy.md section 4 "First flight").
//
//   sniffing ──TLS ClientHello / no known protocol──> asking ──allowed──> open: everything passes
//        └─────HTTP/1 request────────────────────────> judging, for *every* request head of the connection
//
// Two streams are known late. Text without a line end, off 80 and 443, may be anything that speaks first, or become a
// request: when the guest falls silent it is judged as what it is, no known protocol, and if that may pass it passes,
// still read; the connection ends if its first line turns out to be a request's after all, which was not judged by its
// name. And a request for a WebSocket: what follows it waits for the server. After 101 it is the authority's that was
// judged; after any other answer it is the next request.
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
#include "wire/http1_upgrade.h"

namespace weir::gateway {

class FirstFlightGate : public Gate {
 public:
  static constexpr std::uint64_t kDeadlineMs = 10'000;  // from the first byte; on 80 and 443 from accept
  // How long the start of a line waits for more. Clients write a request line at once; who sends a word and waits for
  // the answer waits this long more.
  static constexpr std::uint64_t kLineSilenceMs = 300;
  // ... and how much of a line waits for that silence.
  static constexpr std::size_t kMaxHeldLine = 32768;

  FirstFlightGate(sys::Reactor& reactor, Link& link, Resolver& resolver, std::uint64_t flow, net::Port port);
  ~FirstFlightGate() override;

  Step judge(Bytes held) override;
  Step judge_end(Bytes held) override;
  void on_answer(const control::FlightAnswer& answer) override;
  bool on_reply(Bytes bytes) override;

 private:
  enum class Phase : std::uint8_t { sniffing, line, requests, asking, allowed, refused };

  Step sniff(Bytes fresh);
  Step await_line(Bytes held);
  Step watch_line(Bytes held);
  Step read_requests(Bytes held);
  Step pass(std::size_t count);
  Step ask(control::Flight flight);
  Step ask_for_request(const wire::RequestHead& head);
  Step ask_for_fault(wire::HttpFault fault);
  void ask_with_resolution(control::Resolution resolution);
  void start_deadline();
  bool asks_for_websocket() const;
  bool awaits_reply() const;
  bool becomes_websocket() const;

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
  std::optional<wire::Http1Prefix> line_;    // reads the line that passes, or is to
  wire::WebSocketReply reply_;               // reads what the server says first
  sys::Reactor::TimerId deadline_ = 0;
  sys::Reactor::TimerId silence_ = 0;
  // Callbacks that come later find out here whether the gate still exists.
  std::shared_ptr<FirstFlightGate*> self_;
};

}  // namespace weir::gateway
