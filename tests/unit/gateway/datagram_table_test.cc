#include "gateway/datagram/datagram_table.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>

#include "policy/text/compile.h"
#include "sys/socket_address.h"

namespace weir::gateway {
namespace {

using Outcome = control::ConnectAnswer::Outcome;
constexpr std::uint64_t kIdleMs = 30;

net::IpAddress ip(std::string_view text) {
  return *net::IpAddress::parse(text);
}

std::vector<std::uint8_t> policy_image() {
  auto compiled = policy::compile_policy({});
  EXPECT_TRUE(compiled.has_value());
  return std::move(compiled->image);
}

std::array<sys::OwnedFd, 2> socket_pair(int type) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
  return {sys::OwnedFd(ends[0]), sys::OwnedFd(ends[1])};
}

sys::OwnedFd udp_socket(sys::SocketAddress& address) {
  sys::OwnedFd fd(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_EQ(::bind(fd.get(), address.get(), address.size), 0);
  EXPECT_EQ(::getsockname(fd.get(), address.get(), &address.size), 0);
  return fd;
}

// The supervisor's end of the channel, the guest's end of weir0, and a peer on loopback.
class DatagramTableTest : public testing::Test {
 protected:
  DatagramTableTest()
      : reactor_(*sys::Reactor::create()),
        channels_(*sys::Channel::pair()),
        device_(socket_pair(SOCK_SEQPACKET)),
        link_(reactor_, std::move(channels_.first)),
        tun_(reactor_, std::move(device_[0])),
        resolver_(reactor_, link_, tun_, image_, {}),
        refuser_(reactor_, link_, tun_),
        table_(reactor_, link_, tun_, resolver_, refuser_, meter_, kIdleMs),
        peer_(udp_socket(peer_address_)) {
    EXPECT_TRUE(tun_.start([](Bytes) {}, [this] { return link_.flush(); }).has_value());
    reactor_.after_each_round([this] {
      table_.flush();
      tun_.flush();
    });
    table_.start();
  }

  void guest_sends(std::string_view payload, net::Port from = 4000) {
    std::array<std::uint8_t, 2048> buffer;
    const Bytes packet = wire::udp_packet({kGuest, from}, {kTarget, 7}, as_bytes(payload), buffer);
    table_.on_packet(*wire::parse_packet(packet));
  }

  // What the supervisor was told since the last time.
  std::vector<control::FromGateway> told() {
    link_.flush();
    std::vector<control::FromGateway> all;
    std::array<std::uint8_t, control::kMaxPacket> buffer;
    for (;;) {
      const auto received = channels_.second.receive(buffer);
      if (!received || received->state != sys::Channel::Received::State::message) return all;
      for (Bytes packet = received->message; !packet.empty();)
        all.push_back(*control::next_message<control::FromGateway>(packet));
    }
  }

  std::uint64_t asked_number() {
    const auto messages = told();
    if (messages.size() != 1 || !std::holds_alternative<control::Connect>(messages.front())) return 0;
    return std::get<control::Connect>(messages.front()).flow;
  }

  void answer(std::uint64_t flow, Outcome outcome, sys::OwnedFd socket = {}, std::uint32_t error = 0) {
    ASSERT_TRUE(table_.asked(flow));
    table_.on_answer({.flow = flow, .outcome = outcome, .error = error, .name = {}}, std::move(socket));
  }

  sys::OwnedFd socket_to_peer() const {
    sys::OwnedFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    EXPECT_EQ(::setsockopt(fd.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof on), 0);
    EXPECT_EQ(::setsockopt(fd.get(), IPPROTO_UDP, UDP_GRO, &on, sizeof on), 0);
    EXPECT_EQ(::connect(fd.get(), peer_address_.get(), peer_address_.size), 0);
    return fd;
  }

  void open_flow() {
    guest_sends("first");
    answer(asked_number(), Outcome::connected, socket_to_peer());
  }

  std::string peer_gets(sys::SocketAddress& from) {
    table_.flush();
    std::array<char, 2048> buffer{};
    const ssize_t size = ::recvfrom(peer_.get(), buffer.data(), buffer.size(), 0, from.get(), &from.size);
    return size < 0 ? "nothing" : std::string(buffer.data(), static_cast<std::size_t>(size));
  }
  std::string peer_gets() {
    sys::SocketAddress from;
    return peer_gets(from);
  }

  std::vector<std::uint8_t> guest_gets() {
    tun_.flush();
    std::vector<std::uint8_t> buffer(wire::kMaxPacket);
    const ssize_t size = ::recv(device_[1].get(), buffer.data(), buffer.size(), 0);
    buffer.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return buffer;
  }

  void run_for(std::uint64_t ms) {
    reactor_.at(sys::monotonic_ms() + ms, [this] { reactor_.stop(); });
    ASSERT_TRUE(reactor_.run().has_value());
  }

  const net::IpAddress kGuest = ip("10.254.0.2");
  const net::IpAddress kTarget = ip("192.0.2.7");
  std::vector<std::uint8_t> policy_ = policy_image();
  policy::Image image_ = *policy::Image::open(policy_);
  sys::Reactor reactor_;
  std::pair<sys::Channel, sys::Channel> channels_;
  std::array<sys::OwnedFd, 2> device_;
  Link link_;
  Tun tun_;
  Resolver resolver_;
  Refuser refuser_;
  Meter meter_{policy::Limits{}, [](policy::Limit, std::uint64_t) {}};
  DatagramTable table_;
  sys::SocketAddress peer_address_ = sys::SocketAddress::of({ip("127.0.0.1"), 0});
  sys::OwnedFd peer_;
};

TEST_F(DatagramTableTest, TheFirstDatagramAsksAndWhatWaitedGoesOutInOrder) {
  guest_sends("one");
  guest_sends("");
  guest_sends("three");
  const std::uint64_t flow = asked_number();
  EXPECT_EQ(peer_gets(), "nothing");
  answer(flow, Outcome::connected, socket_to_peer());
  EXPECT_EQ(peer_gets(), "one");
  EXPECT_EQ(peer_gets(), "");
  EXPECT_EQ(peer_gets(), "three");
  guest_sends("four");
  EXPECT_EQ(peer_gets(), "four");
  EXPECT_TRUE(told().empty()) << "a flow asks once";
}

TEST_F(DatagramTableTest, DatagramsThatTravelTogetherArriveOneByOne) {
  open_flow();
  EXPECT_EQ(peer_gets(), "first");
  // Trains of every shape: equal ones, a shorter last, a longer one behind, an empty one between, one alone.
  const std::vector<std::string> sent = {"aaaa", "bbbb", "cccc", "dd", "eeee", "ffffff", "", "gggggg", "h", "iiiiiiii"};
  for (const std::string& each : sent) guest_sends(each);
  for (const std::string& each : sent) EXPECT_EQ(peer_gets(), each);
  EXPECT_EQ(peer_gets(), "nothing");
  // More than one train holds, and little enough for the peer's buffer.
  for (int i = 100; i < 250; ++i) guest_sends(std::to_string(i));
  for (int i = 100; i < 250; ++i) EXPECT_EQ(peer_gets(), std::to_string(i));
}

TEST_F(DatagramTableTest, FlowsThatAlternateKeepTheirDatagrams) {
  open_flow();
  guest_sends("other", 4001);
  answer(asked_number(), Outcome::connected, socket_to_peer());
  EXPECT_EQ(peer_gets(), "first");
  EXPECT_EQ(peer_gets(), "other");
  for (int i = 0; i < 4; ++i) {
    guest_sends("mine" + std::to_string(i));
    guest_sends("other" + std::to_string(i), 4001);
  }
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(peer_gets(), "mine" + std::to_string(i));
    EXPECT_EQ(peer_gets(), "other" + std::to_string(i));
  }
}

TEST_F(DatagramTableTest, WhatAPeerSentTogetherIsCutApart) {
  open_flow();
  sys::SocketAddress from;
  ASSERT_EQ(peer_gets(from), "first");
  const int segment = 4;
  ASSERT_EQ(::setsockopt(peer_.get(), IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
  ASSERT_EQ(::sendto(peer_.get(), "aaaabbbbcc", 10, 0, from.get(), from.size), 10);
  run_for(5);
  for (const char* wanted : {"aaaa", "bbbb", "cc"}) {
    const auto bytes = guest_gets();
    const auto packet = wire::parse_packet(bytes);
    ASSERT_TRUE(packet.has_value());
    EXPECT_EQ(as_text(wire::parse_udp(*packet)->payload), wanted);
  }
}

TEST_F(DatagramTableTest, AnAnswerBecomesAPacketFromTheAddressThatTheGuestAsked) {
  open_flow();
  sys::SocketAddress from;
  ASSERT_EQ(peer_gets(from), "first");
  ASSERT_EQ(::sendto(peer_.get(), "back", 4, 0, from.get(), from.size), 4);
  run_for(5);
  const auto bytes = guest_gets();
  const auto packet = wire::parse_packet(bytes);
  ASSERT_TRUE(packet.has_value());
  EXPECT_EQ(packet->source, kTarget);
  EXPECT_EQ(packet->destination, kGuest);
  const auto udp = wire::parse_udp(*packet);
  ASSERT_TRUE(udp.has_value());
  EXPECT_EQ(udp->source_port, 7);
  EXPECT_EQ(udp->destination_port, 4000);
  EXPECT_EQ(as_text(udp->payload), "back");
}

TEST_F(DatagramTableTest, ARefusalIsToldAndTheNextDatagramAsksAgain) {
  guest_sends("one");
  answer(asked_number(), Outcome::refused);
  const auto bytes = guest_gets();
  ASSERT_GT(bytes.size(), 22u);
  EXPECT_EQ(bytes[20], 3);
  EXPECT_EQ(bytes[21], 13);
  EXPECT_EQ(peer_gets(), "nothing");
  guest_sends("two");
  EXPECT_NE(asked_number(), 0u);
}

TEST_F(DatagramTableTest, WhatTheSupervisorMustNotAnswerIsARefusal) {
  for (const Outcome outcome : {Outcome::resolver, Outcome::resolve, Outcome::connected_hold}) {
    guest_sends("x");
    answer(asked_number(), outcome);
    EXPECT_FALSE(guest_gets().empty());
    EXPECT_EQ(peer_gets(), "nothing");
  }
  // "Connected", and no socket.
  guest_sends("x");
  answer(asked_number(), Outcome::connected);
  ASSERT_EQ(told().size(), 1u) << "the flow is closed";
}

TEST_F(DatagramTableTest, AClosedPortIsToldTheGuestAndTheRecord) {
  peer_.reset();
  open_flow();
  table_.flush();
  run_for(5);
  const auto bytes = guest_gets();
  ASSERT_GT(bytes.size(), 30u);
  EXPECT_EQ(bytes[20], 3);
  EXPECT_EQ(bytes[21], 3);
  table_.drain();
  const auto messages = told();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(std::get<control::FlowClosed>(messages.front()).error, static_cast<std::uint32_t>(ECONNREFUSED));
}

TEST_F(DatagramTableTest, AnIdleFlowEndsWithItsCount) {
  open_flow();
  table_.flush();
  run_for(3 * kIdleMs);
  const auto messages = told();
  ASSERT_EQ(messages.size(), 1u);
  const auto& closed = std::get<control::FlowClosed>(messages.front());
  EXPECT_EQ(closed.bytes_up, 5u);
  EXPECT_EQ(closed.bytes_down, 0u);
  guest_sends("again");
  EXPECT_NE(asked_number(), 0u);
}

TEST_F(DatagramTableTest, WhatWaitsIsBounded) {
  for (std::size_t i = 0; i < 2 * DatagramTable::kMaxHeldPackets; ++i) guest_sends("x");
  answer(asked_number(), Outcome::connected, socket_to_peer());
  std::size_t arrived = 0;
  while (peer_gets() != "nothing") ++arrived;
  EXPECT_EQ(arrived, DatagramTable::kMaxHeldPackets);
}

TEST_F(DatagramTableTest, FlowsThatAskAreBounded) {
  std::size_t asked = 0;
  for (unsigned i = 0; i < DatagramTable::kMaxAsking + 10; ++i) {
    guest_sends("x", static_cast<net::Port>(1000 + i));
    asked += told().size();
  }
  EXPECT_EQ(asked, DatagramTable::kMaxAsking);
}

}  // namespace
}  // namespace weir::gateway
