#include "gateway/proxy/http_session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/json.h"

namespace weir::gateway {

namespace {

constexpr net::Port kHttp = 80;

std::string error_name(int error) {
  const char* const name = ::strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

}  // namespace

HttpSession::~HttpSession() {
  if (upstream_ != nullptr) drop_upstream(ECANCELED);
}

void HttpSession::released() {
  // A response that the guest did not wait for is its own affair; a request that was cut is not.
  if (upstream_ != nullptr) drop_upstream(phase_ == Phase::exchange ? ECONNABORTED : 0);
}

ProxySession::Turn HttpSession::proceed() {
  switch (phase_) {
    case Phase::head:
      return take_head();
    case Phase::exchange:
      return exchange();
    case Phase::dialling:
    case Phase::judging:
      break;
  }
  return Turn::wait;
}

ProxySession::Turn HttpSession::take_head() {
  using Event = wire::RequestStream::Event;
  if (std::exchange(upstream_stirred_, false) && upstream_ != nullptr && !upstream_->sound()) drop_upstream(0);
  const auto step = stream_.feed(input());
  use(step.consumed);
  switch (step.event) {
    case Event::head:
      return on_head();
    case Event::refused:
      return fault(stream_.fault());
    case Event::paused:
      // The wish to upgrade was not sent on (forward_request()), so what follows is HTTP.
      stream_.continue_http();
      return Turn::again;
    case Event::none:
      break;
  }
  if (receive()) {
    if (!input().empty() && !std::exchange(request_began_, true)) set_deadline(kHandshakeMs);
    return Turn::again;
  }
  if (input_ended()) close_orderly();
  return input_ended() ? Turn::again : Turn::wait;
}

ProxySession::Turn HttpSession::on_head() {
  using wire::TargetForm;
  const wire::RequestHead& head = stream_.head();
  request_began_ = false;
  target_ = head.authority;
  method_ = head.method;
  bodiless_ = head.framing == wire::BodyFraming::none;
  switch (head.form) {
    case TargetForm::authority:
      break;
    case TargetForm::absolute_http:
      if (!target_.port) target_.port = kHttp;
      return begin_request();
    case TargetForm::absolute_https:
      record_fault(policy::Reason::malformed);
      reply("400 Bad Request", "malformed", "this proxy speaks no TLS itself: ask it for a tunnel with CONNECT");
      return Turn::again;
    case TargetForm::origin:
    case TargetForm::asterisk:
      record_fault(policy::Reason::malformed);
      reply("400 Bad Request", "malformed", "this is a proxy: the target of a request is a whole URL");
      return Turn::again;
  }
  connect();
  return Turn::wait;
}

void HttpSession::connect() {
  if (upstream_ != nullptr) drop_upstream(0);
  phase_ = Phase::dialling;
  dial(target_);
}

ProxySession::Turn HttpSession::begin_request() {
  const wire::RequestHead& head = stream_.head();
  const bool last = head.close_requested || head.minor_version == 0;
  persistence_ = last ? wire::Persistence::close : wire::Persistence::keep;
  head_ = wire::forward_request(as_text(stream_.approve()), head);
  reused_ = upstream_ != nullptr && upstream_->origin() == target_ && upstream_->sound();
  if (!reused_) {
    connect();
    return Turn::wait;
  }
  begin_exchange();
  return Turn::again;
}

// A connection that was kept may end while the request is on its way; what changes nothing is then asked anew. Only
// what is a head and nothing else: a body that has passed is gone, and a head that promises one would make the origin
// take the next request for it.
bool HttpSession::may_repeat() const {
  const bool safe = method_ == "GET" || method_ == "HEAD" || method_ == "OPTIONS";
  return reused_ && safe && bodiless_ && !upstream_->answered() && upstream_->bytes_up() > 0;
}

void HttpSession::dialled(ProxyDialled result) {
  using Outcome = ProxyDialled::Outcome;
  const std::string where = wire::text_of(target_);
  const bool tunnel = method_ == "CONNECT";
  switch (result.outcome) {
    case Outcome::refused:
      return refuse(result.reason);
    case Outcome::unresolved:
      return reply("502 Bad Gateway", policy::name_of(policy::Reason::resolve_failed), where + " cannot be resolved");
    case Outcome::failed:
      if (result.reason == policy::Reason::upstream_proxy)
        return reply("502 Bad Gateway", policy::name_of(result.reason),
                     where + " is not reached: the upstream proxy failed");
      return reply("502 Bad Gateway", error_name(result.error), where + " cannot be reached");
    case Outcome::resolver:
      // Only DNS is spoken there.
      if (!tunnel) return refuse(policy::Reason::protocol);
      say("HTTP/1.1 200 Connection established\r\n\r\n");
      return hand_to_resolver();
    case Outcome::connected:
      break;
  }
  if (!tunnel) return connected(std::move(result));
  say("HTTP/1.1 200 Connection established\r\n\r\n");
  hand_over(result, *target_.port);
}

void HttpSession::connected(ProxyDialled result) {
  upstream_ = std::make_unique<HttpUpstream>(context_.reactor, context_.meter, std::move(result.upstream), result.flow,
                                             target_, [this] {
                                               upstream_stirred_ = true;
                                               run();
                                             });
  context_.upstreams[result.flow] = this;
  if (!upstream_->start()) return reply("503 Service Unavailable", "limit", "out of descriptors");
  if (!result.hold) return begin_exchange();
  phase_ = Phase::judging;
  control::Flight flight;
  flight.flow = result.flow;
  flight.kind = control::Flight::Kind::http;
  flight.name_present = true;
  if (target_.name() != nullptr) flight.name = *target_.name();
  flight.resolution = control::Resolution::tried;
  context_.judging[flight.flow] = this;
  context_.link.send(flight);
}

void HttpSession::on_flight(const control::FlightAnswer& answer) {
  if (answer.outcome == control::FlightAnswer::Outcome::allowed) {
    begin_exchange();
  } else {
    drop_upstream(ECONNABORTED);
    const bool known = answer.reason != 0 && answer.reason < policy::kReasonCount;
    refuse(known ? static_cast<policy::Reason>(answer.reason) : policy::Reason::no_rule);
  }
  run();
}

// A response that has begun must not look whole, and the rest of a request is nobody's: the guest sees a reset. Between
// two requests the next one is judged for itself.
void HttpSession::cut() {
  upstream_->abort(ECONNABORTED);
  const Phase phase = phase_;
  drop_upstream(ECONNABORTED);
  if (phase == Phase::exchange) return end();
  if (phase != Phase::judging) return;
  refuse(policy::Reason::no_rule);
  run();
}

// Looks at once, which sets the next time to look.
void HttpSession::idle_timeout_changed() {
  if (phase_ == Phase::exchange) set_deadline(0);
}

void HttpSession::begin_exchange() {
  upstream_->begin(method_, head_);
  response_ended_ = false;
  response_head_since_ms_ = 0;
  last_progress_ms_ = context_.reactor.now_ms();
  phase_ = Phase::exchange;
  set_deadline(context_.idle_timeout_ms);
}

ProxySession::Turn HttpSession::exchange() {
  const Turn up = pump_up();
  if (ended() || phase_ != Phase::exchange || closing()) return Turn::again;
  const Turn down = pump_down();
  if (ended() || phase_ != Phase::exchange || closing()) return Turn::again;
  if (response_ended_) {
    finish_exchange();
    return Turn::again;
  }
  return up == Turn::again || down == Turn::again ? Turn::again : Turn::wait;
}

// The body of the request: from the guest through the parser to the origin.
ProxySession::Turn HttpSession::pump_up() {
  // A server that stopped reading may have answered before: what it said tells.
  const bool flushed = upstream_->flush();
  if (upstream_->used_up()) return upstream_broke();
  if (!flushed || response_ended_) return Turn::wait;
  if (!stream_.in_body()) {
    if (guest_shut() && input().empty()) upstream_->shut();
    return Turn::wait;
  }
  if (input().empty() && !receive()) {
    if (ended()) return Turn::wait;
    if (input_ended()) end();  // a request that was cut short
    return Turn::wait;
  }
  const auto step = stream_.feed(input());
  if (step.event == wire::RequestStream::Event::refused) {
    record_fault(policy::Reason::malformed);
    drop_upstream(ECONNABORTED);
    end();
    return Turn::wait;
  }
  upstream_->send(input().first(step.pass));
  use(step.consumed);
  last_progress_ms_ = context_.reactor.now_ms();
  return Turn::again;
}

// The response: from the origin through the parser to the guest.
ProxySession::Turn HttpSession::pump_down() {
  using Heard = HttpUpstream::Heard;
  if (response_ended_ || unsaid() > 0) return Turn::wait;
  WEIR_ASSERT(upstream_ != nullptr);
  std::string said;
  const Heard heard = upstream_->hear(context_.buffer, persistence_, said);
  say(said);
  if (heard == Heard::waiting) return Turn::wait;
  const std::uint64_t now = context_.reactor.now_ms();
  last_progress_ms_ = now;
  if (!upstream_->in_head()) response_head_since_ms_ = 0;
  if (upstream_->in_head() && response_head_since_ms_ == 0) response_head_since_ms_ = now;
  if (heard == Heard::broken) return upstream_broke();
  if (heard == Heard::ended) response_ended_ = true;
  return Turn::again;
}

void HttpSession::finish_exchange() {
  // An answer to a request that is still being sent: the rest of it is nobody's.
  const bool close = stream_.in_body() || persistence_ == wire::Persistence::close || upstream_->closes_guest();
  if (!upstream_->reusable() || stream_.in_body()) drop_upstream(upstream_->error());
  phase_ = Phase::head;
  request_began_ = !input().empty();
  set_deadline(request_began_ ? kHandshakeMs : kIdleMs);
  if (close) close_orderly();
}

ProxySession::Turn HttpSession::upstream_broke() {
  const bool over = upstream_->used_up().has_value();
  if (!over && may_repeat()) {
    reused_ = false;
    connect();
    return Turn::wait;
  }
  const bool answered = upstream_->answered();
  const int error = upstream_->error();
  drop_upstream(error != 0 ? error : EPROTO);
  if (answered) {
    end();  // a reset: half a response must not look whole
    return Turn::wait;
  }
  if (over) {
    refuse(policy::Reason::quota);
    return Turn::again;
  }
  reply("502 Bad Gateway", error != 0 ? error_name(error) : "EPROTO",
        wire::text_of(target_) + " gave no HTTP/1 response that can be passed on");
  return Turn::again;
}

void HttpSession::deadline_passed() {
  const std::uint64_t now = context_.reactor.now_ms();
  if (phase_ == Phase::exchange) {
    const bool head_late = response_head_since_ms_ != 0 && now - response_head_since_ms_ >= kResponseHeadMs;
    if (!head_late && now - last_progress_ms_ < context_.idle_timeout_ms) {
      return set_deadline(std::min(context_.idle_timeout_ms, kResponseHeadMs));
    }
    drop_upstream(ETIMEDOUT);
    return end();
  }
  if (!request_began_) return end();  // nothing was asked: no attempt of anybody
  record_fault(policy::Reason::malformed);
  reply("408 Request Timeout", "malformed", "the request did not come to its end in time");
  run();
}

ProxySession::Turn HttpSession::fault(wire::HttpFault fault) {
  using policy::Reason;
  const Reason reason = fault == wire::HttpFault::host_missing    ? Reason::host_missing
                        : fault == wire::HttpFault::host_mismatch ? Reason::host_mismatch
                        : fault == wire::HttpFault::h2c           ? Reason::not_http
                                                                  : Reason::malformed;
  record_fault(reason);
  reply("400 Bad Request", policy::name_of(reason), "no HTTP/1 request that can be judged");
  return Turn::again;
}

void HttpSession::refuse(policy::Reason reason) {
  const std::string_view status = is_overload(reason) ? "503 Service Unavailable" : "403 Forbidden";
  reply(status, policy::name_of(reason), wire::text_of(target_) + " is refused");
}

void HttpSession::reply(std::string_view status, std::string_view code, std::string_view message) {
  JsonWriter json;
  json.begin_object().key("error").begin_object();
  json.field("code", code).field("message", "weir: " + std::string(message)).end_object().end_object();
  const std::string body = json.take() + "\n";
  std::string text = "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: application/json\r\nX-Weir-Reason: ";
  text.append(code).append("\r\nContent-Length: ").append(std::to_string(body.size()));
  text.append("\r\nConnection: close\r\n\r\n");
  say(text);
  if (method_ != "HEAD") say(body);
  close_orderly();
}

void HttpSession::drop_upstream(int error) {
  context_.judging.erase(upstream_->flow());
  context_.upstreams.erase(upstream_->flow());
  if (const auto quota = upstream_->used_up()) context_.meter.report(*quota, upstream_->flow());
  context_.link.send(control::FlowClosed{.flow = upstream_->flow(),
                                         .bytes_up = upstream_->bytes_up(),
                                         .bytes_down = upstream_->bytes_down(),
                                         .error = static_cast<std::uint32_t>(error)});
  // Its event may be what brought us here.
  context_.reactor.retire(std::move(upstream_));
}

}  // namespace weir::gateway
