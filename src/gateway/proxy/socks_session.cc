#include "gateway/proxy/socks_session.h"

#include <cerrno>

namespace weir::gateway {

namespace {

using wire::socks5::Progress;
using wire::socks5::Reply;

Reply reply_for_error(int error) {
  switch (error) {
    case ENETUNREACH:
      return Reply::network_unreachable;
    case EHOSTUNREACH:
    case ETIMEDOUT:
      return Reply::host_unreachable;
    case ECONNREFUSED:
      return Reply::connection_refused;
    default:
      return Reply::general_failure;
  }
}

// Reply 2 is the policy's word. What a limit or the end of the sandbox refuses is a failure of the gateway.
Reply reply_for(const ProxyDialled& result) {
  switch (result.outcome) {
    case ProxyDialled::Outcome::failed:
      return reply_for_error(result.error);
    case ProxyDialled::Outcome::unresolved:
      return Reply::host_unreachable;
    case ProxyDialled::Outcome::refused:
      return is_overload(result.reason) ? Reply::general_failure : Reply::not_allowed;
    case ProxyDialled::Outcome::connected:
    case ProxyDialled::Outcome::resolver:
      break;
  }
  return Reply::succeeded;
}

}  // namespace

ProxySession::Turn SocksSession::proceed() {
  switch (phase_) {
    case Phase::greeting:
      return greet();
    case Phase::request:
      return take_request();
    case Phase::dialling:
      break;
  }
  return Turn::wait;
}

// A handshake is small: what follows it stays in the kernel until the tunnel stands.
ProxySession::Turn SocksSession::need_more() {
  constexpr std::size_t kLongest = 2 + 255 + 4 + 1 + 255 + 2;
  if (receive(kLongest)) return Turn::again;
  if (input_ended()) end();
  return Turn::wait;
}

ProxySession::Turn SocksSession::greet() {
  const auto greeting = wire::socks5::parse_greeting(input());
  if (greeting.progress == Progress::need_more) return need_more();
  if (greeting.progress == Progress::malformed) {
    record_fault(policy::Reason::malformed);
    end();
    return Turn::wait;
  }
  use(greeting.size);
  if (!greeting.without_authentication) {
    record_fault(policy::Reason::protocol);
    say(Bytes(wire::socks5::kNoAcceptableMethod));
    close_orderly();
    return Turn::again;
  }
  say(Bytes(wire::socks5::kNoAuthentication));
  phase_ = Phase::request;
  return Turn::again;
}

ProxySession::Turn SocksSession::take_request() {
  const auto request = wire::socks5::parse_request(input());
  if (request.progress == Progress::need_more) return need_more();
  if (request.progress == Progress::malformed) {
    const bool other = request.refusal == Reply::command_not_supported;
    record_fault(other ? policy::Reason::protocol : policy::Reason::malformed);
    refuse(request.refusal);
    return Turn::again;
  }
  use(request.size);
  phase_ = Phase::dialling;
  port_ = *request.destination.port;
  dial(request.destination);
  return Turn::wait;
}

void SocksSession::dialled(ProxyDialled result) {
  const Reply reply = reply_for(result);
  if (reply != Reply::succeeded) return refuse(reply);
  say(Bytes(wire::socks5::reply(reply)));
  if (result.outcome == ProxyDialled::Outcome::resolver) return hand_to_resolver();
  hand_over(result, port_);
}

void SocksSession::refuse(Reply reply) {
  say(Bytes(wire::socks5::reply(reply)));
  close_orderly();
}

}  // namespace weir::gateway
