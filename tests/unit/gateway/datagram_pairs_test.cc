// Clients of published UDP ports: what came first goes first, and only who is in the way ends early.
#include "gateway/inbound/datagram_pairs.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <optional>

#include "sys/socket_address.h"

namespace weir::gateway {
namespace {

constexpr std::uint64_t kIdleMs = 100;
constexpr std::uint64_t kQuota = 100;  // into the sandbox
constexpr std::uint16_t kPort = 5;
constexpr std::uint64_t kFlow = 77;

net::Endpoint bound_to(const sys::OwnedFd& socket) {
  sys::SocketAddress local;
  EXPECT_EQ(::getsockname(socket.get(), local.get(), &local.size), 0);
  return *local.endpoint();
}

sys::OwnedFd udp_socket() {
  const auto any = sys::SocketAddress::of({.address = net::IpAddress::v4({127, 0, 0, 1}), .port = 0});
  sys::OwnedFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_EQ(::bind(fd.get(), any.get(), any.size), 0);
  return fd;
}

void connect(const sys::OwnedFd& fd, const sys::OwnedFd& to) {
  const auto address = sys::SocketAddress::of(bound_to(to));
  EXPECT_EQ(::connect(fd.get(), address.get(), address.size), 0);
}

// Two sockets that are connected to each other: the gateway's, and the other side's.
struct Line {
  Line() {
    connect(ours, theirs);
    connect(theirs, ours);
  }
  void say(std::string_view text) const { ASSERT_GE(::send(theirs.get(), text.data(), text.size(), 0), 0); }
  std::string hear() const {
    std::array<char, 64> buffer;
    const ssize_t size = ::recv(theirs.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return size < 0 ? "nothing" : std::string(buffer.data(), static_cast<std::size_t>(size));
  }
  sys::OwnedFd ours = udp_socket();
  sys::OwnedFd theirs = udp_socket();
};

class DatagramPairsTest : public testing::Test {
 protected:
  explicit DatagramPairsTest(std::uint64_t idle_ms = kIdleMs)
      : reactor_(*sys::Reactor::create()),
        channels_(*sys::Channel::pair()),
        link_(reactor_, std::move(channels_.first)),
        pairs_(reactor_, link_, meter_, idle_ms, 2),
        port_(udp_socket()) {
    pairs_.start();
    pairs_.on(control::InboundPort{.port = kPort}, sys::OwnedFd(::dup(port_.get())));
  }

  // To the port, and the gateway is told whose it is.
  // `said`: who it is told to be from, if not from who sent it.
  void first(std::string_view text, const std::optional<net::Endpoint>& said = {}) {
    const auto to = sys::SocketAddress::of(bound_to(port_));
    const sys::OwnedFd stranger = udp_socket();
    ASSERT_GE(::sendto(stranger.get(), text.data(), text.size(), 0, to.get(), to.size), 0);
    pairs_.on(control::InboundTake{.flow = kFlow, .port = kPort, .client = said.value_or(bound_to(stranger))});
  }
  void open(std::uint64_t flow, Line& client, Line& guest) {
    pairs_.open(flow, std::move(client.ours), std::move(guest.ours));
  }
  void run_for(std::uint64_t ms) {
    reactor_.at(sys::monotonic_ms() + ms, [this] { reactor_.stop(); });
    ASSERT_TRUE(reactor_.run().has_value());
  }
  template <class Message>
  std::vector<Message> told() {
    link_.flush();
    std::vector<Message> all;
    std::array<std::uint8_t, control::kMaxPacket> buffer;
    for (;;) {
      const auto received = channels_.second.receive(buffer);
      if (!received || received->state != sys::Channel::Received::State::message) return all;
      for (Bytes packet = received->message; !packet.empty();) {
        const auto message = control::next_message<control::FromGateway>(packet);
        if (const auto* found = std::get_if<Message>(&*message)) all.push_back(*found);
      }
    }
  }

  sys::Reactor reactor_;
  std::pair<sys::Channel, sys::Channel> channels_;
  Link link_;
  std::vector<policy::Limit> reached_;
  Meter meter_{[] {
                 policy::Limits limits;
                 limits[policy::Limit::ingress_bytes] = kQuota;
                 return limits;
               }(),
               [this](policy::Limit limit, std::uint64_t) { reached_.push_back(limit); }};
  DatagramPairs pairs_;
  sys::OwnedFd port_;
  Line client_;
  Line guest_;
};

TEST_F(DatagramPairsTest, WhatCameFirstGoesFirst) {
  first("1");
  first("2");
  EXPECT_EQ(told<control::InboundTaken>().size(), 2u);
  client_.say("3");
  open(kFlow, client_, guest_);
  run_for(20);
  for (const char* text : {"1", "2", "3"}) EXPECT_EQ(guest_.hear(), text);
  first("4");
  EXPECT_EQ(guest_.hear(), "4") << "one that was still at the port";
  guest_.say("answer");
  run_for(20);
  EXPECT_EQ(client_.hear(), "answer");
  run_for(3 * kIdleMs);
  const auto closed = told<control::FlowClosed>();
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].bytes_down, 4u);
  EXPECT_EQ(closed[0].bytes_up, 6u);
  EXPECT_EQ(closed[0].error, 0u);
}

TEST_F(DatagramPairsTest, SomebodyElsesIsNotTaken) {
  first("1", net::Endpoint{.address = net::IpAddress::v4({127, 0, 0, 1}), .port = 9});
  EXPECT_EQ(told<control::InboundTaken>().size(), 1u);
  open(kFlow, client_, guest_);
  EXPECT_EQ(guest_.hear(), "nothing");
}

TEST_F(DatagramPairsTest, WhatGetsNoSocketsGoesNowhere) {
  first("1");
  pairs_.on(control::InboundGone{.flow = kFlow});
  open(kFlow, client_, guest_);
  EXPECT_EQ(guest_.hear(), "nothing");
}

TEST_F(DatagramPairsTest, HeldIsBounded) {
  for (std::size_t i = 0; i < DatagramPairs::kMaxHeld + 10; ++i) first("x");
  open(kFlow, client_, guest_);
  std::size_t heard = 0;
  while (guest_.hear() == "x") ++heard;
  EXPECT_EQ(heard, DatagramPairs::kMaxHeld);
}

TEST_F(DatagramPairsTest, WhatWasShutEnds) {
  const int copy = ::dup(guest_.ours.get());
  open(kFlow, client_, guest_);
  ::shutdown(copy, SHUT_RDWR);
  run_for(20);
  const auto closed = told<control::FlowClosed>();
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].error, static_cast<std::uint32_t>(EPIPE));
  ::close(copy);
}

TEST_F(DatagramPairsTest, CutSendsNothingMore) {
  open(kFlow, client_, guest_);
  guest_.say("secret");
  EXPECT_TRUE(pairs_.cut(kFlow));
  EXPECT_FALSE(pairs_.cut(kFlow));
  run_for(20);
  EXPECT_EQ(client_.hear(), "nothing");
  EXPECT_EQ(told<control::FlowClosed>().at(0).error, static_cast<std::uint32_t>(ECONNABORTED));
}

TEST_F(DatagramPairsTest, AClosedPortInsideIsSaidAndMayOpen) {
  open(kFlow, client_, guest_);
  const net::Endpoint inside = bound_to(guest_.theirs);
  guest_.theirs.reset();
  client_.say("1");
  run_for(20);
  guest_.theirs = sys::OwnedFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto again = sys::SocketAddress::of(inside);
  ASSERT_EQ(::bind(guest_.theirs.get(), again.get(), again.size), 0);
  client_.say("2");
  run_for(20);
  EXPECT_EQ(guest_.hear(), "2");
  run_for(3 * kIdleMs);
  EXPECT_EQ(told<control::FlowClosed>().at(0).error, static_cast<std::uint32_t>(ECONNREFUSED));
}

TEST_F(DatagramPairsTest, AQuotaIsNotOvershot) {
  open(kFlow, client_, guest_);
  for (int i = 0; i < 30; ++i) client_.say("0123456789");
  run_for(20);
  std::size_t heard = 0;
  while (guest_.hear() != "nothing") ++heard;
  EXPECT_EQ(heard, kQuota / 10);
  EXPECT_EQ(reached_, std::vector{policy::Limit::ingress_bytes}) << "told once";
}

class CrowdedTest : public DatagramPairsTest {
 protected:
  CrowdedTest() : DatagramPairsTest(60'000) {}
};

// Of two that there may be, both are there.
TEST_F(CrowdedTest, WhoAskedOnceMakesRoom) {
  Line other_client;
  Line other_guest;
  open(kFlow, client_, guest_);
  open(kFlow + 1, other_client, other_guest);
  for (const Line* line : {&client_, &other_client}) line->say("question");
  run_for(20);
  for (const Line* line : {&guest_, &other_guest}) line->say("answer");
  run_for(20);
  client_.say("and another");
  run_for(DatagramPairs::kCrowdedIdleMs + 1500);
  const auto closed = told<control::FlowClosed>();
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].flow, kFlow + 1);
}

}  // namespace
}  // namespace weir::gateway
