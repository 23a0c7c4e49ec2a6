#include "gateway/tcp/first_flight_gate.h"

namespace weir::gateway {

namespace {

constexpr net::Port kHttp = 80;
constexpr net::Port kHttps = 443;

using Kind = control::Flight::Kind;

wire::Expect expected_on(net::Port port) {
  return port == kHttps ? wire::Expect::tls : port == kHttp ? wire::Expect::http : wire::Expect::either;
}

control::Flight of_kind(Kind kind) {
  control::Flight flight;
  flight.kind = kind;
  return flight;
}

control::Flight of_hello(const wire::ClientHello& hello) {
  control::Flight flight = of_kind(Kind::tls);
  flight.name = hello.name;
  flight.name_present = hello.sni != wire::Sni::absent;
  flight.ech = hello.has_ech;
  return flight;
}

}  // namespace

FirstFlightGate::FirstFlightGate(sys::Reactor& reactor, Link& link, Resolver& resolver, std::uint64_t flow,
                                 net::Port port)
    : reactor_(reactor),
      link_(link),
      resolver_(resolver),
      sniffer_(expected_on(port)),
      self_(std::make_shared<FirstFlightGate*>(this)) {
  flight_.flow = flow;
  // There the client speaks first, so its silence counts too.
  if (port == kHttp || port == kHttps) start_deadline();
}

FirstFlightGate::~FirstFlightGate() {
  reactor_.cancel(deadline_);
  reactor_.cancel(silence_);
  *self_ = nullptr;
}

void FirstFlightGate::start_deadline() {
  if (deadline_ != 0) return;
  deadline_ = reactor_.at(reactor_.now_ms() + kDeadlineMs, [this] {
    if (phase_ == Phase::sniffing || phase_ == Phase::requests) static_cast<void>(ask(of_kind(Kind::malformed)));
  });
}

Gate::Step FirstFlightGate::judge(Bytes held) {
  switch (phase_) {
    case Phase::sniffing: {
      if (held.size() == fed_) return {.decision = Decision::need_more};
      start_deadline();
      const Bytes fresh = held.subspan(fed_);
      fed_ = held.size();
      const Step step = sniff(fresh);
      if (phase_ == Phase::requests) return read_requests(held);
      return phase_ == Phase::sniffing && sniffer_.may_be_a_line() ? await_line(held) : step;
    }
    case Phase::line:
      return watch_line(held);
    case Phase::requests:
      return read_requests(held);
    case Phase::asking:
      return {.decision = Decision::waiting};
    case Phase::allowed:
      return {.decision = Decision::open};
    case Phase::refused:
      break;
  }
  return {.decision = Decision::refuse};
}

Gate::Step FirstFlightGate::judge_end(Bytes held) {
  const Step step = judge(held);
  if (step.decision != Decision::need_more) return step;
  // Nothing was said, or every request was whole: there is nothing left to judge, and the end may pass.
  if (held.empty()) return {.decision = Decision::open};
  if (awaits_reply()) return {.decision = Decision::waiting};
  const bool looks_like_tls = wire::looks_like_tls(held) == wire::Look::yes;
  return ask(of_kind(stream_ != nullptr || looks_like_tls ? Kind::malformed : Kind::opaque));
}

Gate::Step FirstFlightGate::sniff(Bytes fresh) {
  using Verdict = wire::FirstFlightSniffer::Verdict;
  switch (sniffer_.feed(fresh)) {
    case Verdict::need_more:
      return {.decision = Decision::need_more};
    case Verdict::tls:
      return ask(of_hello(sniffer_.hello()));
    case Verdict::malformed:
      return ask(of_kind(Kind::malformed));
    case Verdict::h2c:
      return ask(of_kind(Kind::h2c_preface));
    case Verdict::opaque:
      return ask(of_kind(Kind::opaque));
    case Verdict::http:
      break;
  }
  phase_ = Phase::requests;
  stream_ = std::make_unique<wire::RequestStream>();
  fed_ = 0;
  return {.decision = Decision::need_more};
}

// No name can be in what is there yet. It may leave before the line is whole, because no server acts on half of a
// request line, and the half that would make it one is seen before it passes.
Gate::Step FirstFlightGate::await_line(Bytes held) {
  reactor_.cancel(silence_);
  const auto ask_as_it_is = [this](Bytes line) {
    line_.emplace().feed(line);
    return ask(of_kind(Kind::opaque));
  };
  if (held.size() >= kMaxHeldLine) return ask_as_it_is(held);
  silence_ = reactor_.at(reactor_.now_ms() + kLineSilenceMs, [this, ask_as_it_is] {
    if (phase_ == Phase::sniffing) static_cast<void>(ask_as_it_is(sniffer_.held()));
  });
  return {.decision = Decision::need_more};
}

Gate::Step FirstFlightGate::watch_line(Bytes held) {
  const wire::HttpLook look = line_->feed(held.subspan(fed_));
  fed_ = held.size();
  switch (look) {
    case wire::HttpLook::need_more:
      return pass(held.size());
    case wire::HttpLook::no:
      phase_ = Phase::allowed;
      return {.decision = Decision::open};
    case wire::HttpLook::http1:
    case wire::HttpLook::h2c:
      break;
  }
  return ask(of_kind(Kind::malformed));
}

// The held bytes are: what may pass, then a head that is being collected, then what was not fed yet.
Gate::Step FirstFlightGate::read_requests(Bytes held) {
  while (fed_ < held.size()) {
    const auto step = stream_->feed(held.subspan(fed_));
    // Body bytes come before a head in a chunk, never behind it, so they stretch what may pass.
    passable_ += step.pass;
    fed_ += step.consumed;
    switch (step.event) {
      case wire::RequestStream::Event::none:
        break;
      case wire::RequestStream::Event::head: {
        const net::DomainName* name = stream_->head().authority.name();
        const bool again = name != nullptr && approved_ == *name;
        if (!again) return ask_for_request(stream_->head());
        stream_->approve();
        passable_ = fed_;
        break;
      }
      case wire::RequestStream::Event::paused:
        if (stream_->head().is_connect) return ask(of_kind(Kind::malformed));
        if (awaits_reply()) return pass(passable_);
        if (becomes_websocket()) {
          phase_ = Phase::allowed;
          return {.decision = Decision::open};
        }
        // Whatever the server makes of another upgrade, the guest goes on in HTTP/1 or is refused: clients that merely
        // offer h2c work, and nothing passes unjudged.
        stream_->continue_http();
        break;
      case wire::RequestStream::Event::refused:
        return ask_for_fault(stream_->fault());
    }
    if (step.consumed == 0 && step.event == wire::RequestStream::Event::none) break;
  }
  return pass(passable_);
}

// Only the first request of a connection: the answers to earlier ones would stand in front, and would have to be framed
// as the client frames them to be told apart.
bool FirstFlightGate::asks_for_websocket() const {
  return stream_ != nullptr && stream_->request_count() == 1 && wire::asks_for_websocket(stream_->head());
}

bool FirstFlightGate::awaits_reply() const {
  return asks_for_websocket() && reply_.look() == wire::Look::need_more;
}

bool FirstFlightGate::becomes_websocket() const {
  return asks_for_websocket() && reply_.look() == wire::Look::yes;
}

bool FirstFlightGate::on_reply(Bytes bytes) {
  if (reply_.look() != wire::Look::need_more) return false;
  return reply_.feed(bytes) != wire::Look::need_more && asks_for_websocket();
}

Gate::Step FirstFlightGate::pass(std::size_t count) {
  fed_ -= count;
  passable_ = 0;
  return {.decision = count == 0 ? Decision::need_more : Decision::pass, .count = count};
}

Gate::Step FirstFlightGate::ask_for_request(const wire::RequestHead& head) {
  control::Flight flight = of_kind(Kind::http);
  flight.name_present = true;
  if (head.authority.name() != nullptr) flight.name = *head.authority.name();
  const Step step = ask(std::move(flight));
  at_head_ = true;
  return step;
}

Gate::Step FirstFlightGate::ask_for_fault(wire::HttpFault fault) {
  switch (fault) {
    case wire::HttpFault::malformed:
      return ask(of_kind(Kind::malformed));
    case wire::HttpFault::h2c:
      return ask(of_kind(Kind::h2c_preface));
    case wire::HttpFault::host_missing:
      return ask(of_kind(Kind::http));
    case wire::HttpFault::host_mismatch:
      break;
  }
  control::Flight flight = of_kind(Kind::http);
  flight.name_present = true;
  return ask(std::move(flight));
}

Gate::Step FirstFlightGate::ask(control::Flight flight) {
  flight.flow = flight_.flow;
  flight_ = std::move(flight);
  phase_ = Phase::asking;
  at_head_ = false;
  reactor_.cancel(deadline_);
  ask_with_resolution(control::Resolution::not_tried);
  // Bodies of earlier requests need not wait for the verdict on the next one.
  if (stream_ != nullptr && passable_ > 0) return pass(passable_);
  return {.decision = Decision::waiting};
}

void FirstFlightGate::ask_with_resolution(control::Resolution resolution) {
  flight_.resolution = resolution;
  link_.send(flight_);
}

void FirstFlightGate::on_answer(const control::FlightAnswer& answer) {
  using Outcome = control::FlightAnswer::Outcome;
  if (phase_ != Phase::asking) return;
  switch (answer.outcome) {
    case Outcome::resolve:
      if (!flight_.name || flight_.resolution == control::Resolution::tried) break;
      return resolver_.resolve(*flight_.name, [self = self_] {
        if (*self != nullptr) (*self)->ask_with_resolution(control::Resolution::tried);
      });
    case Outcome::allowed:
      if (stream_ == nullptr) {
        phase_ = line_ ? Phase::line : Phase::allowed;
        return;
      }
      if (at_head_) {
        approved_ = flight_.name;
        stream_->approve();
        passable_ = fed_;
        phase_ = Phase::requests;
        return;
      }
      // The address alone would do, but behind a faulty request nothing can be told apart any more: it is refused as
      // what it is, and recorded as that.
      if (flight_.kind == Kind::malformed) break;
      static_cast<void>(ask(of_kind(Kind::malformed)));
      return;
    case Outcome::refused:
    case Outcome::count_:
      break;
  }
  phase_ = Phase::refused;
}

}  // namespace weir::gateway
