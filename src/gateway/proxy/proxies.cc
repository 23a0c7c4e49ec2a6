#include "gateway/proxy/proxies.h"

#include "gateway/proxy/http_session.h"
#include "gateway/proxy/socks_session.h"

namespace weir::gateway {

Proxies::Proxies(sys::Reactor& reactor, Link& link, Resolver& resolver, FlowTable& flows, Meter& meter,
                 const control::Start& world)
    : dials_(link, resolver),
      context_{.reactor = reactor,
               .link = link,
               .resolver = resolver,
               .flows = flows,
               .meter = meter,
               .dials = dials_,
               .idle_timeout_ms = world.idle_timeout_ms,
               .on_end = [this](ProxySession& session) { session_ended(session); }} {}

Proxies::~Proxies() = default;

void Proxies::serve(sys::OwnedFd guest, const net::Endpoint& proxy) {
  const bool http = proxy.port == net::kHttpProxyPort;
  if (sessions_.size() >= kMaxSessions) {
    // Closed: a reset.
    using Via = control::Refused::Via;
    context_.link.send(control::Refused{.via = http ? Via::http : Via::socks,
                                        .destination = proxy,
                                        .reason = static_cast<std::uint8_t>(policy::Reason::limit)});
    return;
  }
  std::unique_ptr<ProxySession> session;
  if (http) {
    session = std::make_unique<HttpSession>(context_, std::move(guest), proxy);
  } else {
    session = std::make_unique<SocksSession>(context_, std::move(guest), proxy);
  }
  ProxySession& started = *session;
  sessions_.emplace(&started, std::move(session));
  started.start(http ? HttpSession::kIdleMs : ProxySession::kHandshakeMs);
}

bool Proxies::on_answer(const control::ConnectAnswer& answer, sys::OwnedFd& upstream) {
  return dials_.on_answer(answer, upstream);
}

bool Proxies::on_answer(const control::FlightAnswer& answer) {
  auto node = context_.judging.extract(answer.flow);
  if (node.empty()) return false;
  node.mapped()->on_flight(answer);
  return true;
}

bool Proxies::cut(std::uint64_t flow) {
  const auto found = context_.upstreams.find(flow);
  if (found == context_.upstreams.end()) return false;
  found->second->cut();
  return true;
}

void Proxies::drain() {
  std::vector<ProxySession*> sessions;
  for (const auto& [session, owned] : sessions_) sessions.push_back(session);
  for (ProxySession* session : sessions) session->abandon();
}

void Proxies::session_ended(ProxySession& session) {
  auto node = sessions_.extract(&session);
  if (!node.empty()) context_.reactor.retire(std::move(node.mapped()));
}

}  // namespace weir::gateway
