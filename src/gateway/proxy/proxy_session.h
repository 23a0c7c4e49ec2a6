// A guest's connection to one of the proxies: what HTTP and SOCKS have in common.
//
// Bytes are read into one bounded buffer and used from its front; what is said waits in another one, and while it does
// nothing more is read: back-pressure is the kernel's. A session ends by handing its socket on (a tunnel is then an
// ordinary flow), by an orderly close behind its last reply, or by a reset.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "control/gateway_messages.h"
#include "gateway/link.h"
#include "gateway/meter.h"
#include "gateway/proxy/proxy_dials.h"
#include "gateway/resolver/resolver.h"
#include "gateway/tcp/flow_table.h"
#include "sys/reactor.h"

namespace weir::gateway {

class ProxySession;

// What the sessions of a gateway share. `on_end`: the session is over and may be retired.
struct ProxyContext {
  static constexpr std::size_t kBuffer = 64 * 1024;

  sys::Reactor& reactor;
  Link& link;
  Resolver& resolver;
  FlowTable& flows;
  Meter& meter;
  ProxyDials& dials;
  std::uint64_t idle_timeout_ms;
  std::function<void(ProxySession&)> on_end;
  std::unordered_map<std::uint64_t, ProxySession*> judging = {};    // flow -> who asked about it
  std::unordered_map<std::uint64_t, ProxySession*> upstreams = {};  // flow -> who has its connection
  std::vector<std::uint8_t> buffer = std::vector<std::uint8_t>(kBuffer);
};

class ProxySession : public sys::EventHandler {
 public:
  static constexpr std::uint64_t kHandshakeMs = 10'000;  // from the first byte of a request to its end
  static constexpr std::uint64_t kLingerMs = 2000;       // for the guest to read the last reply
  static constexpr unsigned kTurnsPerRun = 16;           // before the others get their turn

  // `guest`: non-blocking, lingering {1,0}. `proxy`: what the guest connected to.
  ProxySession(ProxyContext& context, sys::OwnedFd guest, const net::Endpoint& proxy, control::Entry entry);
  ~ProxySession() override;

  // `patience_ms`: how long the guest may say nothing.
  void start(std::uint64_t patience_ms);
  // The supervisor's word on a request inside a held connection of this session.
  virtual void on_flight(const control::FlightAnswer&) {}
  // The connection of this session lost its permission: it is reset and reported.
  virtual void cut() {}
  // The guest's processes are gone: nobody waits for anything.
  void abandon() { end(); }

  void on_events(std::uint32_t events) override;

 protected:
  enum class Turn : std::uint8_t { again, wait };
  // Does what can be done now; called again while it says `again`.
  virtual Turn proceed() = 0;
  // The session is over; what it holds besides the guest's socket is to be released.
  virtual void released() {}

  void run();
  // Received and not yet used.
  Bytes input() const { return received_; }
  void use(std::size_t count);
  // False: nothing came. At most `room` bytes are kept at a time.
  bool receive(std::size_t room = ProxyContext::kBuffer);
  bool input_ended() const { return input_ended_; }
  // The guest sends no more: known before its last bytes are read.
  bool guest_shut() const { return guest_shut_; }

  void say(Bytes bytes);
  void say(std::string_view text) { say(as_bytes(text)); }
  // True when everything has left. Records go out first.
  bool flush();
  std::size_t unsaid() const { return unsaid_.size() - said_; }

  // Nothing more is read as a request; ends when what was said has left.
  void close_orderly();
  bool closing() const { return closing_; }
  Turn finish_closing();

  void dial(wire::Authority target);
  virtual void dialled(ProxyDialled result) = 0;
  // The connection becomes a tunnel: an ordinary flow that begins with what was received already.
  void hand_over(ProxyDialled& connection, net::Port port);
  void hand_to_resolver();

  // For the record: something that is no request.
  void record_fault(policy::Reason reason);
  void set_deadline(std::uint64_t after_ms);
  virtual void deadline_passed();
  // Ends the session. Without an orderly close before it, the guest sees a reset.
  void end();
  bool ended() const { return ended_; }

  ProxyContext& context_;

 private:
  void continue_later();

  sys::OwnedFd guest_;
  net::Endpoint proxy_;
  control::Entry entry_;
  std::vector<std::uint8_t> received_;
  std::string unsaid_;
  std::size_t said_ = 0;  // of unsaid_, from the front
  ProxyDials::Id dial_ = 0;
  sys::Reactor::TimerId deadline_ = 0;
  sys::Reactor::TimerId continuation_ = 0;
  bool input_ended_ = false;
  bool guest_shut_ = false;
  bool closing_ = false;
  bool shut_ = false;
  bool running_ = false;
  bool ended_ = false;
};

}  // namespace weir::gateway
