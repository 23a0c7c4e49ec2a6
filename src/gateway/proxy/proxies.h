// The explicit proxies on the gateway's own address (policy.md section 5): HTTP on 3128, SOCKS5 on 1080.
//
// They exist because programs that know proxies get names resolved for them and a reason in the refusal. They open
// nothing: each request asks the same admit() as a SYN does, for the address that will be dialled.
#pragma once

#include <memory>
#include <unordered_map>

#include "gateway/proxy/proxy_session.h"
#include "net/proxy_ports.h"

namespace weir::gateway {

class Proxies {
 public:
  // Connections that are no tunnel yet, or ask one request after the other. A descriptor each, and at most two buffers.
  static constexpr std::size_t kMaxSessions = 1024;

  Proxies(sys::Reactor& reactor, Link& link, Resolver& resolver, FlowTable& flows, Meter& meter,
          const control::Start& world);
  ~Proxies();

  // A guest's connection to the gateway's address at a port of a proxy.
  void serve(sys::OwnedFd guest, const net::Endpoint& proxy);

  // False if the answer is for somebody else: `upstream` is then untouched.
  bool on_answer(const control::ConnectAnswer& answer, sys::OwnedFd& upstream);
  bool on_answer(const control::FlightAnswer& answer);
  // The flow lost its permission: its connection is reset, and that is reported. False if no session has it: a tunnel
  // is a flow of the FlowTable.
  bool cut(std::uint64_t flow);
  void change_idle_timeout(std::uint64_t ms) { context_.idle_timeout_ms = ms; }

  // The guest's processes are gone.
  void drain();

 private:
  void session_ended(ProxySession& session);

  ProxyDials dials_;
  ProxyContext context_;
  std::unordered_map<ProxySession*, std::unique_ptr<ProxySession>> sessions_;
};

}  // namespace weir::gateway
