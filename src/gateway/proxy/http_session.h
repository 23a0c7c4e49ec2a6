// The HTTP proxy: CONNECT, and requests in absolute form (RFC 9110 7.6, RFC 9112 3.2).
//
//   head ──CONNECT──> dialling ──connected──> the connection is a tunnel, an ordinary flow
//     │ ↖───────────────────────────────────────────────╮
//     └──absolute form──> dialling ──> (judging) ──> exchange ──response and request whole──╯
//
// Every request of a connection is parsed by the one strict parser and judged for itself; one is under way at a time,
// so no response can be taken for the answer to another request. A request to the origin of the one before it goes the
// same way, any other is dialled anew. What could not be made out ends the connection.
#pragma once

#include <memory>
#include <optional>

#include "gateway/proxy/http_upstream.h"
#include "gateway/proxy/proxy_session.h"
#include "wire/http1.h"
#include "wire/http1_forward.h"

namespace weir::gateway {

class HttpSession : public ProxySession {
 public:
  static constexpr std::uint64_t kIdleMs = 60'000;          // between two requests
  static constexpr std::uint64_t kResponseHeadMs = 60'000;  // from the first byte of a response to the end of its head

  HttpSession(ProxyContext& context, sys::OwnedFd guest, const net::Endpoint& proxy)
      : ProxySession(context, std::move(guest), proxy, control::Entry::http) {}
  ~HttpSession() override;

  void on_flight(const control::FlightAnswer& answer) override;
  void cut() override;

 protected:
  Turn proceed() override;
  void dialled(ProxyDialled result) override;
  void deadline_passed() override;
  void released() override;

 private:
  enum class Phase : std::uint8_t { head, dialling, judging, exchange };

  Turn take_head();
  Turn on_head();
  Turn begin_request();
  void connected(ProxyDialled result);
  void connect();
  void begin_exchange();
  bool may_repeat() const;
  Turn exchange();
  Turn pump_up();
  Turn pump_down();
  void finish_exchange();
  Turn upstream_broke();
  Turn fault(wire::HttpFault fault);
  // A reply of the gateway itself; the connection ends behind it.
  void reply(std::string_view status, std::string_view code, std::string_view message);
  void refuse(policy::Reason reason);
  void drop_upstream(int error);

  Phase phase_ = Phase::head;
  wire::RequestStream stream_;
  // The request under way: where to (with its port), how, and its head as it is sent on.
  wire::Authority target_;
  std::string method_;
  std::string head_;
  bool bodiless_ = false;
  wire::Persistence persistence_ = wire::Persistence::keep;
  std::unique_ptr<HttpUpstream> upstream_;
  bool request_began_ = false;  // bytes of a head were received
  bool response_ended_ = false;
  bool reused_ = false;            // the connection has carried a request before this one
  bool upstream_stirred_ = false;  // something happened to it
  std::uint64_t last_progress_ms_ = 0;
  std::uint64_t response_head_since_ms_ = 0;  // 0: none is being received
};

}  // namespace weir::gateway
