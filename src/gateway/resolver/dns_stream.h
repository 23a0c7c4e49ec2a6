// DNS over TCP towards the guest (RFC 7766): length-framed messages, one after the other.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::gateway {

class Resolver;

class DnsStream : public sys::EventHandler {
 public:
  // A query is small; what is longer is no query.
  static constexpr std::size_t kMaxQuery = 4096;
  static constexpr std::size_t kMaxUnsent = 256 * 1024;  // answers the guest does not read
  static constexpr std::size_t kMaxOpenQuestions = 64;   // at a time; the next one is read when one is answered
  static constexpr std::size_t kMessagesPerRun = 32;     // before the others get their turn
  static constexpr std::uint64_t kIdleMs = 10'000;       // RFC 7766 6.2.3

  // Non-blocking, lingering {1,0}. `received`: what was read from it already.
  DnsStream(sys::Reactor& reactor, Resolver& resolver, sys::OwnedFd guest, Bytes received = {},
            std::uint64_t idle_ms = kIdleMs);
  ~DnsStream() override;

  void start();
  void on_events(std::uint32_t events) override;

 private:
  void run();
  void continue_later();
  bool take_messages();
  bool take_message();
  bool receive();
  void send(Bytes message);
  void flush();
  void restart_idle_timer();
  void finish();

  sys::Reactor& reactor_;
  Resolver& resolver_;
  sys::OwnedFd guest_;
  std::uint64_t idle_ms_;
  std::vector<std::uint8_t> received_;
  std::vector<std::uint8_t> unsent_;
  sys::Reactor::TimerId timer_ = 0;         // the guest says nothing
  sys::Reactor::TimerId continuation_ = 0;  // 0: none is due
  bool input_ended_ = false;
  std::size_t open_questions_ = 0;
  // Answers come later: they find out here whether the stream still lives.
  std::shared_ptr<DnsStream*> self_;
};

}  // namespace weir::gateway
