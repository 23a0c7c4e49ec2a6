// The gateway's only way to get anything: questions to the supervisor, answers back.
//
// What a round of the event loop has to say goes out in one packet at its end, before anything is said to the guest.
// Sending blocks when the supervisor is behind: that is the back-pressure. The supervisor never waits for the gateway,
// so the two cannot wait for each other.
#pragma once

#include <functional>

#include "control/batch.h"
#include "control/gateway_messages.h"
#include "sys/channel.h"
#include "sys/reactor.h"

namespace weir::gateway {

class Link : public sys::EventHandler {
 public:
  using Handler = std::function<void(const control::ToGateway&, sys::OwnedFd)>;

  // `channel`: blocking for writes.
  Link(sys::Reactor& reactor, sys::Channel channel) : reactor_(reactor), channel_(std::move(channel)) {}

  // `on_end`: the supervisor says no more (it has ended the sandbox, or it broke the protocol). Its death needs no
  // handler: it is the gateway's death (PR_SET_PDEATHSIG).
  Result<> start(Handler handler, std::function<void()> on_end);

  // The message goes with the next flush().
  void send(const control::FromGateway& message);

  // Sends what was collected. False, and the event loop ends, when nobody reads: without the supervisor nothing may go
  // on.
  bool flush();

  // Numbers flows and queries; never used twice.
  std::uint64_t next_id() { return ++last_id_; }

  void on_events(std::uint32_t events) override;

 private:
  void end();
  bool take(Bytes packet, std::vector<sys::OwnedFd>& passed);

  sys::Reactor& reactor_;
  sys::Channel channel_;
  Handler handler_;
  std::function<void()> on_end_;
  control::Batch batch_;
  std::uint64_t last_id_ = 0;
};

}  // namespace weir::gateway
