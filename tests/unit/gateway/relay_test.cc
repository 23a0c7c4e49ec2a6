#include "gateway/tcp/relay.h"

#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

namespace weir::gateway {
namespace {

// A connected TCP pair over loopback: the relay works on real kernel sockets, because their edges are its contract.
std::array<sys::OwnedFd, 2> tcp_pair() {
  const sys::OwnedFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  sys::OwnedFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  sys::OwnedFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  const linger reset{.l_onoff = 1, .l_linger = 0};
  EXPECT_EQ(::setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  return {std::move(client), std::move(server)};
}

class ScriptedGate : public Gate {
 public:
  explicit ScriptedGate(std::string wanted) : wanted_(std::move(wanted)) {}
  Step judge(Bytes held) override {
    if (held.size() < wanted_.size()) return {.decision = Decision::need_more};
    return as_text(held) == wanted_ ? Step{.decision = Decision::open} : Step{.decision = Decision::refuse};
  }
  Step judge_end(Bytes held) override {
    return judge(held).decision == Decision::open ? Step{.decision = Decision::open}
                                                  : Step{.decision = Decision::refuse};
  }
  void on_answer(const control::FlightAnswer&) override {}

 private:
  std::string wanted_;
};

class RelayTest : public testing::Test {
 protected:
  RelayTest() : reactor_(*sys::Reactor::create()), context_{.reactor = reactor_, .pipes = {}} {
    auto guest = tcp_pair();
    auto upstream = tcp_pair();
    guest_ = std::move(guest[0]);
    server_ = std::move(upstream[0]);
    guest_leg_ = std::move(guest[1]);
    upstream_leg_ = std::move(upstream[1]);
  }

  void start(std::unique_ptr<Gate> gate = nullptr) {
    relay_ = std::make_unique<Relay>(context_, meter_, std::move(guest_leg_), std::move(upstream_leg_), std::move(gate),
                                     [this](Relay&, const Relay::End& end) {
                                       end_ = end;
                                       ended_ = true;
                                       reactor_.stop();
                                     });
    ASSERT_TRUE(relay_->start().has_value());
  }

  // Runs the loop until the condition holds; a failure instead of a hang after five seconds.
  void run_until(const std::function<bool()>& done) {
    const std::uint64_t deadline = sys::monotonic_ms() + 5000;
    std::function<void()> check = [&] {
      if (done() || sys::monotonic_ms() > deadline) return reactor_.stop();
      reactor_.at(sys::monotonic_ms() + 1, check);
    };
    reactor_.at(sys::monotonic_ms(), check);
    ASSERT_TRUE(reactor_.run().has_value());
    ASSERT_TRUE(done()) << "the relay did not get there within five seconds";
  }

  static void write_to(const sys::OwnedFd& fd, const std::string& text) {
    ASSERT_EQ(::send(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }

  static std::string read_available(int fd) {
    std::array<char, 65536> buffer{};
    const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    return count > 0 ? std::string(buffer.data(), static_cast<std::size_t>(count)) : std::string();
  }

  sys::Reactor reactor_;
  Meter meter_{policy::Limits{}, [](policy::Limit, std::uint64_t) {}};
  RelayContext context_;
  sys::OwnedFd guest_;
  sys::OwnedFd server_;
  sys::OwnedFd guest_leg_;
  sys::OwnedFd upstream_leg_;
  std::unique_ptr<Relay> relay_;
  Relay::End end_;
  bool ended_ = false;
};

TEST_F(RelayTest, MovesBytesBothWaysAndCountsThem) {
  start();
  ASSERT_EQ(::send(guest_.get(), "question", 8, 0), 8);
  std::string got;
  run_until([&] { return (got += read_available(server_.get())) == "question"; });
  ASSERT_EQ(::send(server_.get(), "answer", 6, 0), 6);
  got.clear();
  run_until([&] { return (got += read_available(guest_.get())) == "answer"; });
  guest_.reset();
  server_.reset();
  run_until([&] { return ended_; });
  EXPECT_EQ(end_.error, 0);
  EXPECT_EQ(end_.bytes_up, 8u);
  EXPECT_EQ(end_.bytes_down, 6u);
}

TEST_F(RelayTest, PassesHalfCloseOnAndKeepsTheOtherDirection) {
  start();
  ASSERT_EQ(::shutdown(guest_.get(), SHUT_WR), 0);
  char byte = 0;
  run_until([&] { return ::recv(server_.get(), &byte, 1, MSG_DONTWAIT) == 0; });
  EXPECT_FALSE(ended_);
  ASSERT_EQ(::send(server_.get(), "late", 4, 0), 4);
  std::string got;
  run_until([&] { return (got += read_available(guest_.get())) == "late"; });
  ASSERT_EQ(::shutdown(server_.get(), SHUT_WR), 0);
  run_until([&] { return ended_; });
  EXPECT_EQ(end_.error, 0);
}

std::uint32_t segments_received(const sys::OwnedFd& fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(::getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return info.tcpi_segs_in;
}

TEST_F(RelayTest, TheLastBytesAndTheEndBehindThemAreOneSegment) {
  ASSERT_EQ(::send(server_.get(), "answer", 6, 0), 6);
  ASSERT_EQ(::shutdown(server_.get(), SHUT_WR), 0);
  const std::uint32_t before = segments_received(guest_);
  start();
  std::string got;
  run_until([&] { return (got += read_available(guest_.get())) == "answer"; });
  char byte = 0;
  run_until([&] { return ::recv(guest_.get(), &byte, 1, MSG_DONTWAIT) == 0; });
  EXPECT_EQ(segments_received(guest_) - before, 1u);
  // Bytes whose end is not here wait for nothing.
  ASSERT_EQ(::send(guest_.get(), "late", 4, 0), 4);
  got.clear();
  run_until([&] { return (got += read_available(server_.get())) == "late"; });
}

TEST_F(RelayTest, BulkGoesThroughAPipeAndArrivesWhole) {
  start();
  constexpr std::size_t kTotal = 16 << 20;
  std::vector<char> chunk(1 << 20);
  std::size_t sent = 0;
  std::size_t received = 0;
  bool intact = true;
  run_until([&] {
    for (std::size_t i = 0; i < chunk.size(); ++i) chunk[i] = static_cast<char>((sent + i) * 31 >> 3);
    const ssize_t count = ::send(guest_.get(), chunk.data(), std::min(chunk.size(), kTotal - sent), MSG_DONTWAIT);
    if (count > 0) sent += static_cast<std::size_t>(count);
    for (std::string got = read_available(server_.get()); !got.empty(); got = read_available(server_.get())) {
      for (const char c : got) intact = intact && c == static_cast<char>(received++ * 31 >> 3);
    }
    return received == kTotal;
  });
  EXPECT_TRUE(intact);
  guest_.reset();
  server_.reset();
  run_until([&] { return ended_; });
  EXPECT_EQ(end_.bytes_up, kTotal);
}

TEST_F(RelayTest, AResetUpstreamIsAResetForTheGuest) {
  start();
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(::setsockopt(server_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  server_.reset();
  run_until([&] { return ended_; });
  EXPECT_EQ(end_.error, ECONNRESET);
  char byte = 0;
  EXPECT_EQ(::recv(guest_.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(RelayTest, DyingWithoutAnOrderlyCloseIsAReset) {
  start();
  run_until([] { return true; });
  relay_.reset();
  char byte = 0;
  EXPECT_EQ(::recv(guest_.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(::recv(server_.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(RelayTest, AHeldFlowSendsNothingUpUntilTheGateOpens) {
  start(std::make_unique<ScriptedGate>("hello"));
  ASSERT_EQ(::send(guest_.get(), "hell", 4, 0), 4);
  ASSERT_EQ(::send(server_.get(), "banner", 6, 0), 6);
  std::string got;
  run_until([&] { return (got += read_available(guest_.get())) == "banner"; });  // the server's bytes are not held
  EXPECT_EQ(read_available(server_.get()), "");
  ASSERT_EQ(::send(guest_.get(), "o", 1, 0), 1);
  got.clear();
  run_until([&] { return (got += read_available(server_.get())) == "hello"; });
}

// Lets everything pass, a piece at a time, and never goes away: what HTTP does.
class PassingGate : public Gate {
 public:
  Step judge(Bytes held) override {
    return {.decision = held.empty() ? Decision::need_more : Decision::pass, .count = held.size()};
  }
  Step judge_end(Bytes held) override { return held.empty() ? Step{.decision = Decision::open} : judge(held); }
  void on_answer(const control::FlightAnswer&) override {}
};

TEST_F(RelayTest, AGateThatStaysPassesMoreThanTheSinkTakesAtOnce) {
  start(std::make_unique<PassingGate>());
  constexpr std::size_t kTotal = 8 << 20;
  const std::vector<char> chunk(1 << 20, 'x');
  std::size_t sent = 0;
  std::size_t received = 0;
  run_until([&] {
    if (sent < kTotal) {
      const ssize_t count = ::send(guest_.get(), chunk.data(), std::min(chunk.size(), kTotal - sent), MSG_DONTWAIT);
      if (count > 0) sent += static_cast<std::size_t>(count);
      if (sent == kTotal) ::shutdown(guest_.get(), SHUT_WR);
    }
    // The reader starts late, so that the sink fills up first.
    if (sent > (4 << 20) || received > 0) received += read_available(server_.get()).size();
    return received == kTotal;
  });
  char byte = 0;
  run_until([&] { return ::recv(server_.get(), &byte, 1, MSG_DONTWAIT) == 0; });
}

// Passes a byte at a time for ever, and counts how often it was asked.
class BytewiseGate : public Gate {
 public:
  explicit BytewiseGate(unsigned& judged) : judged_(judged) {}
  Step judge(Bytes held) override {
    ++judged_;
    return held.empty() ? Step{.decision = Decision::need_more} : Step{.decision = Decision::pass, .count = 1};
  }
  Step judge_end(Bytes held) override { return held.empty() ? Step{.decision = Decision::open} : judge(held); }
  void on_answer(const control::FlightAnswer&) override {}

 private:
  unsigned& judged_;
};

TEST_F(RelayTest, AHeldFlowLeavesTheOthersTheirTurn) {
  unsigned judged = 0;
  unsigned most_in_a_round = 0;
  unsigned before = 0;
  reactor_.after_each_round([&] {
    most_in_a_round = std::max(most_in_a_round, judged - before);
    before = judged;
  });
  write_to(guest_, std::string(1000, 'x'));
  start(std::make_unique<BytewiseGate>(judged));
  std::string seen;
  run_until([&] {
    seen += read_available(server_.get());
    return seen.size() == 1000;
  });
  EXPECT_GE(judged, 1000u);
  EXPECT_LE(most_in_a_round, 16u);
}

TEST_F(RelayTest, WhatStandsBehindUrgentDataArrives) {
  start();
  write_to(guest_, "before");
  ASSERT_EQ(::send(guest_.get(), "!", 1, MSG_OOB), 1);
  write_to(guest_, "behind");
  std::string seen;
  run_until([&] {
    seen += read_available(server_.get());
    return seen.find("behind") != std::string::npos;
  });
  EXPECT_TRUE(seen.starts_with("before"));
}

TEST_F(RelayTest, UnjudgedBytesOfAllFlowsTogetherAreBounded) {
  context_.held = RelayContext::kMaxHeld - 3;
  start(std::make_unique<ScriptedGate>("hello there"));
  write_to(guest_, "hello");
  run_until([&] { return ended_; });
  EXPECT_EQ(end_.error, ENOBUFS);
  relay_.reset();
  EXPECT_EQ(context_.held, RelayContext::kMaxHeld - 3);
}

TEST_F(RelayTest, ARefusedFlightResetsBothAndSendsNothing) {
  start(std::make_unique<ScriptedGate>("hello"));
  ASSERT_EQ(::send(guest_.get(), "HELLO", 5, 0), 5);
  run_until([&] { return ended_; });
  EXPECT_EQ(end_.error, ECONNABORTED);
  EXPECT_EQ(end_.bytes_up, 0u);
  char byte = 0;
  EXPECT_EQ(::recv(server_.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

}  // namespace
}  // namespace weir::gateway
