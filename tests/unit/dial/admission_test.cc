// What a gateway that lies can get: it sends any sequence of messages, and the answers are all it has.
#include "dial/admission.h"

#include <gtest/gtest.h>
#include <linux/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <utility>

#include "policy/text/compile.h"
#include "sys/socket_address.h"

namespace weir::dial {
namespace {

using ConnectOutcome = control::ConnectAnswer::Outcome;
constexpr ConnectOutcome kAdmitted = ConnectOutcome::connected;

// A network namespace with loopback only: what is admitted here cannot leave the machine, it ends as unreachable.
class OwnNetwork : public testing::Environment {
 public:
  void SetUp() override {
    ASSERT_EQ(::unshare(CLONE_NEWUSER | CLONE_NEWNET), 0) << "the test needs user namespaces";
    const sys::OwnedFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP;
    ASSERT_EQ(::ioctl(any.get(), SIOCSIFFLAGS, &loopback), 0);
  }
};
const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

class MemoryRecorder : public Recorder {
 public:
  bool record(audit::Event event) override {
    if (full) return false;
    events.push_back(std::move(event));
    return true;
  }
  bool commit() override {
    const std::size_t due = std::exchange(committed, events.size());
    if (full && events.size() > due) ++failed;
    return !full;
  }
  std::uint64_t failed_commits() const override { return failed; }
  bool healthy() const override { return !full; }
  bool full = false;
  std::uint64_t failed = 0;
  std::size_t committed = 0;  // of the events: written or lost
  std::vector<audit::Event> events;
};

class AdmissionTest : public testing::Test {
 protected:
  AdmissionTest() : reactor_(*sys::Reactor::create()) {}

  // `limits`: lines of [limits].
  void start(std::vector<std::string> allow, const std::string& limits = "", std::string upstream_proxy = "") {
    policy::CompileInput input;
    input.session.allow = std::move(allow);
    input.session.upstream_proxy = std::move(upstream_proxy);
    if (!limits.empty())
      input.session.file =
          policy::TextFile{.name = "p", .text = "version = 1\nmode = \"allowlist\"\n[limits]\n" + limits};
    auto compiled = policy::compile_policy(input);
    ASSERT_TRUE(compiled.has_value()) << compiled.error().what();
    image_ = std::move(compiled->image);
    const auto image = *policy::Image::open(image_);
    std::vector<EgressRoute> egress;
    for (const policy::EgressProxy& proxy : image.egress_proxies())
      egress.push_back({.proxy = proxy, .credentials = {}});
    admission_ = std::make_unique<Admission>(
        reactor_, image, *LiveFacts::open({}), recorder_,
        Admission::Settings{
            .resolvers = {}, .host4 = address("10.254.0.5"), .host6 = address("fd77::5"), .egress = std::move(egress)},
        [this](const control::ToGateway& message, sys::OwnedFd passed) {
          answers_.push_back(message);
          if (passed.valid()) passed_.push_back(std::move(passed));
        });
  }

  // Not checked against the policy in force: admission has to hold whatever it is given.
  policy::Image narrower(std::vector<std::string> allow) {
    policy::CompileInput input;
    input.session.allow = std::move(allow);
    narrower_.push_back(policy::compile_policy(input)->image);
    return *policy::Image::open(narrower_.back());
  }

  static net::IpAddress address(const char* text) { return *net::IpAddress::parse(text); }
  static net::DomainName name(const char* text) { return *net::DomainName::parse(text); }

  ConnectOutcome connect(std::uint64_t flow, const char* to, net::Port port) {
    answers_.clear();
    admission_->handle(control::Connect{.flow = flow, .destination = {address(to), port}});
    admission_->settle();
    if (answers_.empty()) return kAdmitted;  // under way
    const ConnectOutcome outcome = std::get<control::ConnectAnswer>(answers_.back()).outcome;
    return outcome == ConnectOutcome::failed ? kAdmitted : outcome;  // dialled, and there is no way there
  }

  ConnectOutcome ask(std::uint64_t flow, net::Protocol protocol, const char* to, net::Port port) {
    answers_.clear();
    admission_->handle(control::Connect{.flow = flow, .protocol = protocol, .destination = {address(to), port}});
    admission_->settle();
    return std::get<control::ConnectAnswer>(answers_.back()).outcome;
  }

  std::uint32_t learn(const char* host, std::vector<net::IpAddress> addresses) {
    answers_.clear();
    admission_->handle(control::Learn{
        .query = 1, .name = name(host), .aliases = {}, .addresses = std::move(addresses), .ttl = 60, .type = 1});
    return std::get<control::LearnAnswer>(answers_.back()).allowed;
  }

  std::string last_reason() const { return recorder_.events.empty() ? "" : recorder_.events.back().reason; }

  sys::Reactor reactor_;
  MemoryRecorder recorder_;
  std::vector<std::uint8_t> image_;
  std::deque<std::vector<std::uint8_t>> narrower_;
  std::unique_ptr<Admission> admission_;
  std::vector<control::ToGateway> answers_;
  std::vector<sys::OwnedFd> passed_;
};

// A socket that listens on loopback, so that an admitted dial finds somebody.
std::pair<sys::OwnedFd, net::Port> listener() {
  sys::OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto any = sys::SocketAddress::of({net::IpAddress::v4({127, 0, 0, 1}), 0});
  EXPECT_EQ(::bind(fd.get(), any.get(), any.size), 0);
  EXPECT_EQ(::listen(fd.get(), 8), 0);
  EXPECT_EQ(::getsockname(fd.get(), any.get(), &any.size), 0);
  return {std::move(fd), any.endpoint()->port};
}

TEST_F(AdmissionTest, AnAllowedNameOpensNoFloorWhateverTheGatewayClaims) {
  start({"a.example:443"});
  const char* const kFloor[] = {"169.254.169.254", "127.0.0.1", "10.0.0.5", "fd00:ec2::254",      "::1",
                                "0.0.0.0",         "224.0.0.1", "fe80::1",  "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"};
  std::uint64_t flow = 0;
  for (const char* floor : kFloor) {
    EXPECT_EQ(learn("a.example", {address(floor)}), 0u) << floor;
    EXPECT_EQ(connect(++flow, floor, 443), ConnectOutcome::refused) << floor;
  }
  // The twin: a public address on the port that the rule names is as far as a lie reaches.
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 1u);
  EXPECT_EQ(connect(++flow, "93.184.216.34", 443), kAdmitted);
  EXPECT_EQ(connect(++flow, "93.184.216.34", 22), ConnectOutcome::refused);
}

TEST_F(AdmissionTest, NamesThatThePolicyDoesNotNameTeachNothing) {
  start({"a.example:443"});
  EXPECT_EQ(learn("evil.example", {address("93.184.216.34")}), 0u);
  EXPECT_EQ(connect(1, "93.184.216.34", 443), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "no-rule");
  EXPECT_EQ(learn("x.a.example", {address("93.184.216.34")}), 0u);
  EXPECT_EQ(connect(2, "93.184.216.34", 443), ConnectOutcome::refused);
}

TEST_F(AdmissionTest, AnAdmittedDialPassesAConnectedSocketAndIsRecordedFirst) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)});
  admission_->handle(control::Connect{.flow = 1, .destination = {address("127.0.0.1"), port}});
  ASSERT_EQ(recorder_.events.size(), 1u);
  EXPECT_EQ(recorder_.events.front().type, audit::EventType::flow_open);
  EXPECT_TRUE(answers_.empty()) << "nothing is dialled before the record is written";
  admission_->settle();
  while (answers_.empty()) {
    reactor_.at(sys::monotonic_ms() + 5, [this] { reactor_.stop(); });
    ASSERT_TRUE(reactor_.run().has_value());
  }
  EXPECT_EQ(std::get<control::ConnectAnswer>(answers_.front()).outcome, ConnectOutcome::connected);
  ASSERT_EQ(passed_.size(), 1u);
  sys::SocketAddress peer;
  ASSERT_EQ(::getpeername(passed_.front().get(), peer.get(), &peer.size), 0);
  EXPECT_EQ(peer.endpoint()->port, port);
  admission_->end();
  EXPECT_EQ(recorder_.events.back().type, audit::EventType::flow_close);
  admission_->handle(control::FlowClosed{.flow = 1});
  EXPECT_EQ(recorder_.events.size(), 2u) << "a flow ends once";
}

TEST_F(AdmissionTest, ANarrowerPolicyCutsWhatItDoesNotAllowAndNothingElse) {
  const auto [server, port] = listener();
  const auto [other, other_port] = listener();
  const std::string kept = "127.0.0.1:" + std::to_string(port);
  start({kept, "127.0.0.1:" + std::to_string(other_port), "93.184.216.34"});
  EXPECT_EQ(connect(1, "127.0.0.1", port), ConnectOutcome::connected);
  EXPECT_EQ(connect(2, "127.0.0.1", other_port), ConnectOutcome::connected);
  answers_.clear();
  EXPECT_EQ(admission_->narrow(narrower({kept})), 1u);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(std::get<control::Cut>(answers_.front()).flow, 2u);
  EXPECT_EQ(admission_->cuts_open(), 1u);
  EXPECT_EQ(admission_->narrow(narrower({kept})), 0u) << "what is cut is cut once";
  admission_->handle(control::FlowClosed{.flow = 2, .bytes_up = 7, .bytes_down = 9, .error = ECONNABORTED});
  EXPECT_EQ(admission_->cuts_open(), 0u);
  EXPECT_EQ(last_reason(), "no-rule");
  EXPECT_EQ(recorder_.events.back().error, "ECONNABORTED");
  EXPECT_EQ(connect(3, "127.0.0.1", other_port), ConnectOutcome::refused);
  EXPECT_EQ(connect(4, "127.0.0.1", port), ConnectOutcome::connected);
  admission_->handle(control::FlowClosed{.flow = 1});
  EXPECT_EQ(recorder_.events.back().reason, "");
}

TEST_F(AdmissionTest, WhatWasAllowedByItsNameIsAskedWithThatName) {
  const auto [server, port] = listener();
  const std::string at = ":" + std::to_string(port);
  start({"host.weir.internal" + at, "127.0.0.1" + at});
  EXPECT_EQ(connect(1, "10.254.0.5", port), ConnectOutcome::connected_hold) << "by the name";
  EXPECT_EQ(connect(2, "127.0.0.1", port), ConnectOutcome::connected) << "by the address";
  EXPECT_EQ(admission_->narrow(narrower({"host.weir.internal" + at})), 1u);
  EXPECT_EQ(std::get<control::Cut>(answers_.back()).flow, 2u);
}

TEST_F(AdmissionTest, AFlightIsJudgedAgain) {
  start({"a.example:443", "b.example:443"});
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 1u);
  EXPECT_EQ(learn("b.example", {address("93.184.216.34")}), 1u);
  const policy::Image image = narrower({"b.example:443"});
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 1u);
  admission_->narrow(image);
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 0u);
  EXPECT_EQ(connect(1, "93.184.216.34", 443), kAdmitted) << "b still leads there";
  admission_->narrow(narrower({"b.example:80"}));
  EXPECT_EQ(connect(2, "93.184.216.34", 443), ConnectOutcome::refused);
}

TEST_F(AdmissionTest, WhatCannotBeRecordedIsNotDialled) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)});
  recorder_.full = true;
  EXPECT_EQ(connect(1, "127.0.0.1", port), ConnectOutcome::refused);
  recorder_.full = false;
  EXPECT_EQ(connect(2, "127.0.0.1", port), kAdmitted);
}

TEST_F(AdmissionTest, WhatIsNotWrittenAtTheEndOfARoundIsNotDialled) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)});
  for (const std::uint64_t flow : {1u, 2u})
    admission_->handle(control::Connect{.flow = flow, .destination = {address("127.0.0.1"), port}});
  recorder_.full = true;
  admission_->settle();
  ASSERT_EQ(answers_.size(), 2u);
  for (const auto& answer : answers_)
    EXPECT_EQ(std::get<control::ConnectAnswer>(answer).outcome, ConnectOutcome::refused);
  EXPECT_TRUE(passed_.empty());
}

TEST_F(AdmissionTest, WhatSomebodyElsesFailedCommitLostIsNotDialled) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)});
  admission_->handle(control::Connect{.flow = 1, .destination = {address("127.0.0.1"), port}});
  recorder_.full = true;
  EXPECT_FALSE(recorder_.commit());
  recorder_.full = false;
  admission_->settle();
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(std::get<control::ConnectAnswer>(answers_.front()).outcome, ConnectOutcome::refused);
  EXPECT_EQ(connect(2, "127.0.0.1", port), kAdmitted);
}

TEST_F(AdmissionTest, TheEndOfADialThatFailsAtOnceIsWrittenInItsRound) {
  start({"93.184.216.34:80"});
  EXPECT_EQ(connect(1, "93.184.216.34", 80), kAdmitted);
  ASSERT_EQ(recorder_.events.back().type, audit::EventType::flow_close);
  EXPECT_EQ(recorder_.committed, recorder_.events.size());
}

TEST_F(AdmissionTest, WhatCannotBeRecordedIsNotAskedNorAnswered) {
  start({"a.example:443"});
  recorder_.full = true;
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 0u);
  admission_->handle(control::OpenResolver{.query = 5, .server = 0});
  EXPECT_NE(std::get<control::ResolverAnswer>(answers_.back()).error, 0u);
  recorder_.full = false;
  EXPECT_EQ(connect(1, "93.184.216.34", 443), ConnectOutcome::refused) << "nothing was learned";
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 1u);
}

TEST_F(AdmissionTest, AFlowThatWasGivenUpGetsNoSocket) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)});
  admission_->handle(control::Connect{.flow = 1, .destination = {address("127.0.0.1"), port}});
  admission_->handle(control::FlowClosed{.flow = 1});
  admission_->settle();
  answers_.clear();
  reactor_.at(sys::monotonic_ms() + 50, [this] { reactor_.stop(); });
  ASSERT_TRUE(reactor_.run().has_value());
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(passed_.empty());
}

TEST_F(AdmissionTest, AFlowNumberIsUsedOnce) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)});
  EXPECT_EQ(connect(7, "127.0.0.1", port), kAdmitted);
  EXPECT_EQ(connect(7, "127.0.0.1", port), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "protocol");
}

TEST_F(AdmissionTest, AFlowNumberIsNotUsedAgainAfterItsEnd) {
  const auto [server, port] = listener();
  const auto [other, other_port] = listener();
  start({"127.0.0.1:" + std::to_string(port), "127.0.0.1:" + std::to_string(other_port)});
  admission_->handle(control::Connect{.flow = 1, .destination = {address("127.0.0.1"), port}});
  admission_->handle(control::FlowClosed{.flow = 1});
  EXPECT_EQ(connect(1, "127.0.0.1", other_port), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "protocol");
  EXPECT_EQ(connect(2, "127.0.0.1", other_port), kAdmitted);
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

TEST_F(AdmissionTest, ADialEndsWithItsFlow) {
  // Somebody who does not answer: the kernel takes two connections and keeps silent to the others.
  const auto [server, port] = listener();
  ASSERT_EQ(::listen(server.get(), 0), 0);
  start({"127.0.0.1:" + std::to_string(port)});
  for (std::uint64_t flow = 1; flow <= 8; ++flow) EXPECT_EQ(connect(flow, "127.0.0.1", port), kAdmitted);
  passed_.clear();
  const auto before = open_descriptors();
  EXPECT_EQ(connect(100, "127.0.0.1", port), kAdmitted);
  EXPECT_EQ(open_descriptors(), before + 1) << "a dial must be under way, or this test shows nothing";
  admission_->handle(control::FlowClosed{.flow = 100});
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(AdmissionTest, AFlightOfNoFlowAndAResolverThatIsNotThereAreRefused) {
  start({"a.example:443"});
  admission_->handle(control::Flight{.flow = 99, .kind = control::Flight::Kind::tls, .name = name("a.example")});
  EXPECT_EQ(std::get<control::FlightAnswer>(answers_.back()).outcome, control::FlightAnswer::Outcome::refused);
  admission_->handle(control::OpenResolver{.query = 5, .server = 200});
  EXPECT_NE(std::get<control::ResolverAnswer>(answers_.back()).error, 0u);
  EXPECT_TRUE(passed_.empty());
}

// A socket that receives datagrams on loopback.
std::pair<sys::OwnedFd, net::Port> receiver(const char* host) {
  auto any = sys::SocketAddress::of({*net::IpAddress::parse(host), 0});
  sys::OwnedFd fd(::socket(any.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_EQ(::bind(fd.get(), any.get(), any.size), 0);
  EXPECT_EQ(::getsockname(fd.get(), any.get(), &any.size), 0);
  return {std::move(fd), any.endpoint()->port};
}

TEST_F(AdmissionTest, AnAdmittedDatagramPassesASocketOfThatPeerOnly) {
  std::uint64_t flow = 0;
  for (const char* host : {"127.0.0.1", "::1"}) {
    const auto [server, port] = receiver(host);
    const std::string target = (host[0] == ':' ? "[::1]:" : "127.0.0.1:") + std::to_string(port);
    start({"udp://" + target});
    passed_.clear();
    flow = 1;
    EXPECT_EQ(ask(flow, net::Protocol::udp, host, port), ConnectOutcome::connected) << host;
    ASSERT_EQ(passed_.size(), 1u);
    sys::SocketAddress peer;
    ASSERT_EQ(::getpeername(passed_.front().get(), peer.get(), &peer.size), 0);
    EXPECT_EQ(peer.endpoint()->port, port);
    EXPECT_EQ(recorder_.events.back().proto, "udp");
    EXPECT_EQ(recorder_.events.back().type, audit::EventType::flow_open);
    // Not by the rule of another protocol, and not another port.
    EXPECT_EQ(ask(++flow, net::Protocol::tcp, host, port), ConnectOutcome::refused);
    EXPECT_EQ(ask(++flow, net::Protocol::udp, host, static_cast<net::Port>(port + 1)), ConnectOutcome::refused);
    EXPECT_EQ(ask(++flow, net::Protocol::icmp, host, 0), ConnectOutcome::refused);
    EXPECT_EQ(passed_.size(), 1u);
  }
}

TEST_F(AdmissionTest, NoDatagramMeetsTheFloor) {
  start({"0.0.0.0/0", "::/0"});
  const char* const kFloor[] = {"169.254.169.254", "127.0.0.1", "255.255.255.255", "224.0.0.251",
                                "0.0.0.0",         "::1",       "ff02::fb",        "fd00:ec2::254"};
  std::uint64_t flow = 0;
  for (const char* floor : kFloor) {
    EXPECT_EQ(ask(++flow, net::Protocol::udp, floor, 4000), ConnectOutcome::refused) << floor;
    EXPECT_EQ(last_reason(), "floor");
    EXPECT_EQ(ask(++flow, net::Protocol::icmp, floor, 0), ConnectOutcome::refused) << floor;
  }
  EXPECT_TRUE(passed_.empty());
}

TEST_F(AdmissionTest, AnEchoHasNoPortAndADatagramHasOne) {
  start({"93.184.216.34"});
  EXPECT_EQ(ask(1, net::Protocol::icmp, "93.184.216.34", 7), ConnectOutcome::refused);
  EXPECT_EQ(ask(2, net::Protocol::udp, "93.184.216.34", 0), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "protocol");
  EXPECT_EQ(ask(3, net::Protocol::udp, "93.184.216.34", 53), ConnectOutcome::resolver) << "no socket to a name server";
  EXPECT_TRUE(passed_.empty());
}

TEST_F(AdmissionTest, ADatagramFlowCountsAndEndsOnce) {
  const auto [server, port] = receiver("127.0.0.1");
  start({"udp://127.0.0.1:" + std::to_string(port)});
  EXPECT_EQ(ask(1, net::Protocol::udp, "127.0.0.1", port), ConnectOutcome::connected);
  admission_->handle(control::FlowClosed{.flow = 1, .bytes_up = 3, .bytes_down = 4});
  admission_->handle(control::FlowClosed{.flow = 1});
  ASSERT_EQ(recorder_.events.size(), 2u);
  EXPECT_EQ(recorder_.events.back().type, audit::EventType::flow_close);
  EXPECT_EQ(recorder_.events.back().proto, "udp");
  EXPECT_EQ(recorder_.events.back().bytes_up, 3u);
}

TEST_F(AdmissionTest, PortFiftyThreeAndPortZeroNeverLeave) {
  start({"93.184.216.34"});
  EXPECT_EQ(connect(1, "93.184.216.34", 53), ConnectOutcome::resolver);
  EXPECT_EQ(connect(2, "93.184.216.34", 0), ConnectOutcome::refused);
}

TEST_F(AdmissionTest, AGatewayThatAsksTooFastWaitsAndIsThenJudgedAgain) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)}, "connects_per_second = 20\n");
  for (std::uint64_t flow = 1; flow <= 41; ++flow) {
    admission_->handle(control::Connect{.flow = flow, .destination = {address("127.0.0.1"), port}});
  }
  ASSERT_EQ(recorder_.events.size(), 41u);
  EXPECT_EQ(recorder_.events[39].type, audit::EventType::flow_open);
  EXPECT_EQ(recorder_.events[40].type, audit::EventType::limit);
  EXPECT_EQ(recorder_.events[40].limits.at(0).limit, "connects_per_second");
  admission_->refuse_new();
  reactor_.at(sys::monotonic_ms() + 200, [this] { reactor_.stop(); });
  ASSERT_TRUE(reactor_.run().has_value());
  EXPECT_EQ(last_reason(), "shutting-down") << "a turn is no verdict";
}

TEST_F(AdmissionTest, WhoseTurnComesWhileNothingIsDialledWaitsOn) {
  const auto [server, port] = listener();
  start({"127.0.0.1:" + std::to_string(port)}, "connects_per_second = 20\n");
  for (std::uint64_t flow = 1; flow <= 43; ++flow) {
    admission_->handle(control::Connect{.flow = flow, .destination = {address("127.0.0.1"), port}});
  }
  const auto pass = [this](std::uint64_t ms) {
    reactor_.at(sys::monotonic_ms() + ms, [this] { reactor_.stop(); });
    ASSERT_TRUE(reactor_.run().has_value());
    admission_->settle();
  };
  const auto opened = [this] {
    return std::ranges::count(recorder_.events, audit::EventType::flow_open, &audit::Event::type);
  };
  admission_->suspend();
  EXPECT_EQ(opened(), 40);
  pass(300);
  EXPECT_EQ(opened(), 40);
  admission_->handle(control::FlowClosed{.flow = 42});
  admission_->go_on();
  pass(300);
  EXPECT_EQ(opened(), 42) << "but not the one that was given up";
}

TEST_F(AdmissionTest, WhatWaitsBeyondFiveSecondsIsRefused) {
  start({"93.184.216.34"}, "connects_per_second = 1\nhalf_open = 100\n");
  for (std::uint64_t flow = 1; flow <= 7; ++flow) {
    admission_->handle(control::Connect{.flow = flow, .destination = {address("93.184.216.34"), 80}});
  }
  EXPECT_NE(last_reason(), "limit");
  admission_->settle();
  EXPECT_EQ(connect(8, "93.184.216.34", 80), ConnectOutcome::refused);
  EXPECT_EQ(connect(9, "93.184.216.35", 80), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "no-rule") << "what is not allowed waits for nothing";
}

TEST_F(AdmissionTest, AQuotaThatIsUsedUpRefusesItsAddressOnly) {
  const auto [server, port] = listener();
  const auto [datagrams, other] = receiver("::1");
  start({"127.0.0.1:" + std::to_string(port), "udp://[::1]:" + std::to_string(other)}, "egress_bytes = 1000\n");
  EXPECT_EQ(connect(1, "127.0.0.1", port), kAdmitted);
  const auto limit = static_cast<std::uint8_t>(policy::Limit::egress_bytes);
  admission_->handle(control::LimitReached{.limit = limit, .flow = 1, .name = {}});
  admission_->handle(control::LimitReached{.limit = 255, .flow = 1, .name = {}});
  EXPECT_EQ(recorder_.events.back().type, audit::EventType::limit);
  EXPECT_EQ(recorder_.events.back().limits.at(0).value, "1000");
  EXPECT_EQ(connect(2, "127.0.0.1", port), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "quota");
  EXPECT_EQ(ask(3, net::Protocol::udp, "::1", other), ConnectOutcome::connected);
}

// What an explicit proxy was asked for. The gateway says so, and may lie.
class ProxyAdmissionTest : public AdmissionTest {
 protected:
  control::ConnectAnswer ask(std::uint64_t flow, const char* host, const char* to, net::Port port) {
    answers_.clear();
    control::Connect connect{.flow = flow, .destination = {address(to), port}};
    connect.entry = control::Entry::http;
    connect.name = name(host);
    const bool by_name = std::string_view(to) == "::";
    connect.resolution = by_name ? control::Resolution::not_tried : control::Resolution::tried;
    admission_->handle(connect);
    admission_->settle();
    if (answers_.empty()) return {.flow = flow, .outcome = kAdmitted};  // under way
    auto answer = std::get<control::ConnectAnswer>(answers_.back());
    if (answer.outcome == ConnectOutcome::failed) answer.outcome = kAdmitted;  // dialled, and there is no way there
    return answer;
  }
};

TEST_F(ProxyAdmissionTest, ANameIsJudgedBeforeItHasAnAddress) {
  start({"a.example:443"});
  EXPECT_EQ(ask(1, "a.example", "::", 443).outcome, ConnectOutcome::resolve);
  EXPECT_TRUE(recorder_.events.empty()) << "nothing was decided yet";
  const auto refused = ask(2, "b.example", "::", 443);
  EXPECT_EQ(refused.outcome, ConnectOutcome::refused);
  EXPECT_EQ(refused.reason, static_cast<std::uint8_t>(policy::Reason::no_rule));
  ASSERT_EQ(recorder_.events.size(), 1u);
  const audit::Event& event = recorder_.events.front();
  EXPECT_EQ(event.name, "b.example");
  EXPECT_EQ(event.via, "http");
  EXPECT_EQ(event.port, 443);
  EXPECT_FALSE(event.dst) << "it has none";
}

TEST_F(ProxyAdmissionTest, OnlyWhatTheBookKnowsForTheNameIsItsAddress) {
  start({"a.example:443", "b.example:443"});
  EXPECT_EQ(learn("a.example", {address("93.184.216.34")}), 1u);
  EXPECT_EQ(ask(1, "a.example", "93.184.216.34", 443).outcome, kAdmitted);
  EXPECT_EQ(ask(2, "b.example", "93.184.216.34", 443).outcome, ConnectOutcome::refused) << "not this name's";
  EXPECT_EQ(ask(3, "a.example", "93.184.216.35", 443).outcome, ConnectOutcome::refused) << "never learned";
  EXPECT_EQ(ask(4, "a.example", "93.184.216.34", 80).outcome, ConnectOutcome::refused) << "another port";
  EXPECT_EQ(ask(5, "a.example", "127.0.0.1", 443).outcome, ConnectOutcome::refused);
  EXPECT_EQ(ask(6, "a.example", "10.254.0.5", 443).outcome, ConnectOutcome::refused) << "the host's services";
}

TEST_F(ProxyAdmissionTest, TheGatewayItselfIsNoDestination) {
  start({"@public"});
  for (const char* host : {"localhost", "gateway.weir.internal"}) {
    const auto answer = ask(recorder_.events.size() + 1, host, "::", 3128);
    EXPECT_EQ(answer.outcome, ConnectOutcome::refused) << host;
    EXPECT_EQ(answer.reason, static_cast<std::uint8_t>(policy::Reason::floor)) << host;
  }
}

TEST_F(ProxyAdmissionTest, AnAddressThatAnotherTargetAllowsIsNotOpenedByAName) {
  start({"a.example:443", "93.184.216.0/24:443"});
  EXPECT_EQ(ask(1, "a.example", "93.184.216.35", 443).outcome, ConnectOutcome::refused)
      << "the name does not lead there, and it is the only candidate";
  EXPECT_EQ(connect(2, "93.184.216.35", 443), kAdmitted) << "by its address it is allowed";
}

TEST_F(ProxyAdmissionTest, NothingNewIsAdmittedAtTheEnd) {
  start({"a.example:443"});
  admission_->refuse_new();
  EXPECT_EQ(ask(1, "a.example", "::", 443).reason, static_cast<std::uint8_t>(policy::Reason::shutting_down));
}

// A gateway that lies cannot make a name lead anywhere, reach what nobody was given, or ask a name server.
TEST_F(AdmissionTest, BehindAProxyNamesLeadWhereTheSupervisorSays) {
  start({"a.example"}, "", "http://127.0.0.1:1");
  EXPECT_EQ(learn("a.example", {address("93.184.215.14")}), 0u);
  EXPECT_EQ(learn("b.example", {}), 0u);
  EXPECT_EQ(last_reason(), "no-rule");
  EXPECT_EQ(connect(1, "93.184.215.14", 443), ConnectOutcome::refused);
  EXPECT_EQ(connect(2, "198.18.0.9", 443), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "no-name");
  EXPECT_EQ(learn("a.example", {}), 1u);
  const auto given = std::get<control::LearnAnswer>(answers_.back()).stand_in;
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(connect(3, given.front().text().c_str(), 443), kAdmitted);
  answers_.clear();
  admission_->handle(control::OpenResolver{.query = 1, .server = 0, .tcp = false});
  EXPECT_NE(std::get<control::ResolverAnswer>(answers_.back()).error, 0u);
}

// A stand-in is an address like any public one: what is no name for outside is refused as a name.
TEST_F(AdmissionTest, BehindAProxyOnlyNamesThatAreAskedGetAStandIn) {
  start({"@public"}, "", "http://127.0.0.1:1");
  EXPECT_EQ(learn("a.example", {}), 1u);
  for (const char* name : {"localhost", "x.localhost", "metadata.google.internal", "printer.local", "intranet"})
    EXPECT_EQ(learn(name, {}), 0u) << name;
}

TEST_F(AdmissionTest, TheProxyItselfIsOutOfReach) {
  start({"93.184.215.14"}, "", "http://93.184.215.14:3128");
  EXPECT_EQ(connect(1, "93.184.215.14", 3128), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "floor");
  EXPECT_EQ(connect(2, "93.184.215.14", 80), kAdmitted);
  EXPECT_EQ(ask(3, net::Protocol::udp, "93.184.215.14", 80), ConnectOutcome::refused);
  EXPECT_EQ(last_reason(), "upstream-proxy");
}

}  // namespace
}  // namespace weir::dial
