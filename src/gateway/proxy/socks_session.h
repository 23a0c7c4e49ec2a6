// SOCKS5, CONNECT only: greeting, request, reply, and then the connection is a tunnel.
#pragma once

#include "gateway/proxy/proxy_session.h"
#include "wire/socks5.h"

namespace weir::gateway {

class SocksSession : public ProxySession {
 public:
  SocksSession(ProxyContext& context, sys::OwnedFd guest, const net::Endpoint& proxy)
      : ProxySession(context, std::move(guest), proxy, control::Entry::socks) {}

 protected:
  Turn proceed() override;
  void dialled(ProxyDialled result) override;

 private:
  enum class Phase : std::uint8_t { greeting, request, dialling };

  Turn greet();
  Turn take_request();
  Turn need_more();
  void refuse(wire::socks5::Reply reply);

  Phase phase_ = Phase::greeting;
  net::Port port_ = 0;
};

}  // namespace weir::gateway
