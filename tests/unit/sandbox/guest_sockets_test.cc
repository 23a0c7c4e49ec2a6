// A hostile init: what it may hand over for a published port, and what ends the sandbox.
#include "sandbox/network/guest_sockets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "sys/channel.h"
#include "sys/socket_address.h"
#include "sys/throwaway_child.h"

namespace weir::sandbox {
namespace {

sys::OwnedFd socket_of(int family, int type, int protocol = 0) {
  return sys::OwnedFd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

net::Endpoint local_of(const sys::OwnedFd& fd) {
  sys::SocketAddress local;
  EXPECT_EQ(::getsockname(fd.get(), local.get(), &local.size), 0);
  return *local.endpoint();
}

sys::OwnedFd listener_on(const char* address) {
  const auto at = sys::SocketAddress::of({.address = *net::IpAddress::parse(address), .port = 0});
  sys::OwnedFd fd = socket_of(at.family(), SOCK_STREAM);
  EXPECT_EQ(::bind(fd.get(), at.get(), at.size), 0);
  EXPECT_EQ(::listen(fd.get(), 8), 0);
  return fd;
}

sys::OwnedFd connected(int type, const net::Endpoint& to) {
  const auto address = sys::SocketAddress::of(to);
  sys::OwnedFd fd = socket_of(address.family(), type);
  EXPECT_TRUE(::connect(fd.get(), address.get(), address.size) == 0 || errno == EINPROGRESS);
  return fd;
}

// The supervisor's end, with this process's network namespace in the role of the sandbox's.
class GuestSocketsTest : public testing::Test {
 protected:
  GuestSocketsTest() {
    sockets_ = *GuestSockets::create(reactor_, *open_namespace_socket(), [this](const control::ToInit& order) {
      asked_ = std::get<control::OpenSocket>(order);
      return Result<>();
    });
    to_ = local_of(listener_);
  }
  void ask(net::Protocol protocol = net::Protocol::tcp, std::uint64_t timeout_ms = 5000) {
    sockets_->open(protocol, to_, timeout_ms, [this](GuestSockets::Opened opened) {
      opened_ = std::move(opened);
      reactor_.stop();
    });
  }
  bool hand_over(sys::OwnedFd fd) { return sockets_->take(control::SocketMade{.id = asked_.id}, fd); }
  void until_opened() {
    if (!opened_) EXPECT_TRUE(reactor_.run());
  }

  sys::Reactor reactor_ = *sys::Reactor::create();
  std::unique_ptr<GuestSockets> sockets_;
  sys::OwnedFd listener_ = listener_on("127.0.0.1");
  net::Endpoint to_;
  control::OpenSocket asked_;
  std::optional<GuestSockets::Opened> opened_;
};

TEST_F(GuestSocketsTest, WhatAnHonestInitOpensIsTaken) {
  ask();
  auto socket = begin_connect(asked_);
  ASSERT_TRUE(socket);
  EXPECT_TRUE(hand_over(std::move(*socket)));
  until_opened();
  EXPECT_EQ(opened_->error, 0);
  ASSERT_TRUE(opened_->socket.valid());
  linger set{};
  socklen_t size = sizeof set;
  ::getsockopt(opened_->socket.get(), SOL_SOCKET, SO_LINGER, &set, &size);
  EXPECT_EQ(set.l_onoff, 1);
}

TEST_F(GuestSocketsTest, AClosedPortIsToldAsSuch) {
  listener_.reset();
  ask();
  auto socket = begin_connect(asked_);
  // The kernel may say it at once, or of the socket.
  if (socket) {
    EXPECT_TRUE(hand_over(std::move(*socket)));
  } else {
    EXPECT_TRUE(sockets_->take(
        control::SocketFailed{.id = asked_.id, .code = static_cast<std::uint32_t>(socket.error().code())}));
  }
  until_opened();
  EXPECT_EQ(opened_->error, ECONNREFUSED);
}

TEST_F(GuestSocketsTest, AnotherKindOfDescriptorEndsIt) {
  const sys::OwnedFd udp_server = socket_of(AF_INET, SOCK_DGRAM);
  const std::pair<const char*, std::function<sys::OwnedFd()>> kinds[] = {
      {"nothing", [] { return sys::OwnedFd(); }},
      {"a file", [] { return sys::OwnedFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); }},
      {"a folder", [] { return sys::OwnedFd(::open("/", O_PATH | O_CLOEXEC)); }},
      {"an epoll", [] { return sys::OwnedFd(::epoll_create1(EPOLL_CLOEXEC)); }},
      {"a unix socket", [] { return socket_of(AF_UNIX, SOCK_STREAM); }},
      {"a pair's end", [] { return sys::Channel::pair()->first.take(); }},
      {"a datagram socket", [this] { return connected(SOCK_DGRAM, to_); }},
      {"another family", [] { return socket_of(AF_INET6, SOCK_STREAM); }},
      {"netlink", [] { return socket_of(AF_NETLINK, SOCK_RAW); }},
      {"MPTCP", [] { return socket_of(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */); }},
      {"a listener", [] { return listener_on("127.0.0.1"); }},
  };
  for (const auto& [name, make] : kinds) {
    opened_.reset();
    ask();
    EXPECT_FALSE(hand_over(make())) << name;
    EXPECT_FALSE(opened_) << name;
  }
}

TEST_F(GuestSocketsTest, ConnectedToAnotherPortIsNotConnected) {
  const sys::OwnedFd other = listener_on("127.0.0.1");
  ask();
  sys::OwnedFd socket = connected(SOCK_STREAM, local_of(other));
  const int number = socket.get();
  EXPECT_TRUE(hand_over(std::move(socket)));
  until_opened();
  EXPECT_EQ(opened_->error, EPROTO);
  EXPECT_FALSE(opened_->socket.valid());
  // Its close could wait for as long as init's SO_LINGER says: not before the sandbox is dead.
  EXPECT_GE(::fcntl(number, F_GETFD), 0);
  sockets_.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST_F(GuestSocketsTest, NotConnectedAtAllIsNotConnected) {
  ask();
  EXPECT_TRUE(hand_over(socket_of(AF_INET, SOCK_STREAM)));
  until_opened();
  EXPECT_NE(opened_->error, 0);
}

TEST_F(GuestSocketsTest, NobodyAskedForIt) {
  sys::OwnedFd unasked = connected(SOCK_STREAM, to_);
  EXPECT_FALSE(sockets_->take(control::SocketMade{.id = 1}, unasked));
  EXPECT_TRUE(unasked.valid()) << "whoever has it knows when it may be closed";
  EXPECT_FALSE(sockets_->take(control::SocketFailed{.id = 1, .code = 1}));
  ask();
  EXPECT_TRUE(hand_over(connected(SOCK_STREAM, to_)));
  until_opened();
  EXPECT_FALSE(hand_over(connected(SOCK_STREAM, to_))) << "the same again";
}

TEST_F(GuestSocketsTest, SilenceIsATimeoutAndStillOwed) {
  ask(net::Protocol::tcp, 1);
  until_opened();
  EXPECT_EQ(opened_->error, ETIMEDOUT);
  // Late, but what was asked for.
  EXPECT_TRUE(hand_over(connected(SOCK_STREAM, to_)));
}

TEST_F(GuestSocketsTest, OwesNoMoreThanItsBound) {
  for (std::size_t i = 0; i < GuestSockets::kMaxOwed; ++i) {
    ASSERT_TRUE(sockets_->has_room());
    ask();
  }
  EXPECT_FALSE(sockets_->has_room());
}

// The one that counts: a socket of the host, of the right kind and connected to the right address.
TEST(GuestSockets, ASocketOfAnotherNetworkNamespaceEndsIt) {
  auto reactor = *sys::Reactor::create();
  auto channels = *sys::Channel::pair();
  const auto made = sys::in_throwaway_child([&]() -> Result<std::string> {
    WEIR_CHECK_OK(sys::become_root_of_new_user_namespace());
    if (::unshare(CLONE_NEWNET) != 0) return fail("cannot make a network namespace", errno);
    WEIR_TRY(const sys::OwnedFd inside, open_namespace_socket());
    const std::uint8_t word = 0;
    WEIR_CHECK_OK(channels.second.send(Bytes(&word, 1), inside.get()));
    return std::string("sent");
  });
  if (!made) GTEST_SKIP() << made.error().what();
  std::array<std::uint8_t, 8> buffer{};
  auto received = channels.first.receive(buffer);
  ASSERT_TRUE(received);
  control::OpenSocket asked;
  auto sockets = *GuestSockets::create(reactor, received->take_passed(), [&](const control::ToInit& order) {
    asked = std::get<control::OpenSocket>(order);
    return Result<>();
  });
  const sys::OwnedFd listener = listener_on("127.0.0.1");
  bool done = false;
  sockets->open(net::Protocol::tcp, local_of(listener), 5000, [&](GuestSockets::Opened) { done = true; });
  sys::OwnedFd foreign = connected(SOCK_STREAM, local_of(listener));
  EXPECT_FALSE(sockets->take(control::SocketMade{.id = asked.id}, foreign));
  EXPECT_FALSE(done);
}

}  // namespace
}  // namespace weir::sandbox
