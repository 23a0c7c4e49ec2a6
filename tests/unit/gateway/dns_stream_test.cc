#include "gateway/resolver/dns_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>

#include "gateway/resolver/resolver.h"
#include "policy/text/compile.h"

namespace weir::gateway {
namespace {

constexpr std::uint64_t kIdleMs = 20;

std::vector<std::uint8_t> policy_image() {
  policy::CompileInput input;
  input.session.allow = {"www.example"};
  auto compiled = policy::compile_policy(input);
  EXPECT_TRUE(compiled.has_value());
  return std::move(compiled->image);
}

control::Start world() {
  control::Start start;
  start.resolvers = 1;
  return start;
}

class DnsStreamTest : public testing::Test {
 protected:
  DnsStreamTest()
      : reactor_(*sys::Reactor::create()),
        channels_(*sys::Channel::pair()),
        link_(reactor_, std::move(channels_.first)),
        tun_(reactor_, {}),
        resolver_(reactor_, link_, tun_, image_, world()) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    guest_ = sys::OwnedFd(ends[0]);
    stream_ = std::make_unique<DnsStream>(reactor_, resolver_, sys::OwnedFd(ends[1]), Bytes(), kIdleMs);
    stream_->start();
  }

  void run_for(std::uint64_t ms) {
    reactor_.at(sys::monotonic_ms() + ms, [this] { reactor_.stop(); });
    ASSERT_TRUE(reactor_.run().has_value());
  }

  bool ended() {
    char byte = 0;
    return ::recv(guest_.get(), &byte, 1, 0) == 0;
  }

  std::vector<std::uint8_t> policy_ = policy_image();
  policy::Image image_ = *policy::Image::open(policy_);
  sys::Reactor reactor_;
  std::pair<sys::Channel, sys::Channel> channels_;
  Link link_;
  Tun tun_;
  Resolver resolver_;
  sys::OwnedFd guest_;
  std::unique_ptr<DnsStream> stream_;
};

// www.example A, with its length in front.
constexpr std::array<std::uint8_t, 31> kQuestion = {0,   29,  0, 7,   1,   0,   0,   1,   0,   0,   0, 0, 0, 0, 3, 'w',
                                                    'w', 'w', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};

TEST_F(DnsStreamTest, AGuestThatAsksNothingIsLetGo) {
  run_for(5 * kIdleMs);
  EXPECT_TRUE(ended());
}

TEST_F(DnsStreamTest, AGuestThatWaitsForItsAnswerIsNotIdle) {
  ASSERT_EQ(::send(guest_.get(), kQuestion.data(), kQuestion.size(), 0), static_cast<ssize_t>(kQuestion.size()));
  run_for(5 * kIdleMs);
  ASSERT_FALSE(ended()) << "its question is on the way upstream";
}

}  // namespace
}  // namespace weir::gateway
