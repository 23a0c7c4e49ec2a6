// What comes in is recorded before anything of it goes on, and what cannot be recorded does not go on.
#include "dial/inbound_flows.h"

#include <gtest/gtest.h>

#include <optional>

namespace weir::dial {
namespace {

class ListRecorder : public Recorder {
 public:
  bool record(audit::Event event) override {
    if (full) return false;
    events.push_back(std::move(event));
    return true;
  }
  bool commit() override { return !full; }
  std::uint64_t failed_commits() const override { return 0; }
  bool healthy() const override { return !full; }
  bool full = false;
  std::vector<audit::Event> events;
};

class InboundFlowsTest : public testing::Test {
 protected:
  void open() {
    flows_.open(arrival_, [this](std::uint64_t flow) { then_ = flow; });
  }
  sys::Reactor reactor_ = *sys::Reactor::create();
  ListRecorder recorder_;
  InboundFlows flows_{reactor_, recorder_};
  Arrival arrival_{.client = {.address = *net::IpAddress::parse("192.0.2.7"), .port = 40000},
                   .published = {.address = *net::IpAddress::parse("192.0.2.1"), .port = 8080},
                   .guest = 80};
  std::optional<std::uint64_t> then_;
};

TEST_F(InboundFlowsTest, GoesOnOnlyWhenItIsWritten) {
  open();
  EXPECT_FALSE(then_);
  ASSERT_EQ(recorder_.events.size(), 1u);
  EXPECT_EQ(recorder_.events[0].via, "publish");
  EXPECT_EQ(recorder_.events[0].src, arrival_.client.address);
  EXPECT_EQ(recorder_.events[0].src_port, 40000);
  EXPECT_EQ(recorder_.events[0].guest_port, 80);
  flows_.settle(InboundFlows::Written::yes);
  EXPECT_EQ(then_, InboundFlows::kFirst);
  EXPECT_EQ(flows_.size(), 1u);
  flows_.close(*then_, 5, 6, ECONNRESET);
  EXPECT_EQ(flows_.size(), 0u);
  ASSERT_EQ(recorder_.events.size(), 2u);
  EXPECT_EQ(recorder_.events[1].error, "ECONNRESET");
  EXPECT_EQ(recorder_.events[1].bytes_up, 5u);
  flows_.close(*then_, 5, 6, 0);
  EXPECT_EQ(recorder_.events.size(), 2u) << "once";
}

TEST_F(InboundFlowsTest, WhatWasNotWrittenDoesNotGoOn) {
  open();
  flows_.settle(InboundFlows::Written::no);
  EXPECT_EQ(then_, 0u);
  EXPECT_EQ(flows_.size(), 0u);
  then_.reset();
  recorder_.full = true;
  open();
  EXPECT_EQ(then_, 0u);
  EXPECT_EQ(flows_.size(), 0u);
}

TEST_F(InboundFlowsTest, TheEndOfTheSandboxIsTheEndOfAll) {
  open();
  flows_.settle(InboundFlows::Written::yes);
  open();
  then_.reset();
  flows_.close_all(ECANCELED);
  flows_.settle(InboundFlows::Written::yes);
  EXPECT_FALSE(then_) << "what had not begun never does";
  EXPECT_EQ(flows_.size(), 0u);
  EXPECT_EQ(recorder_.events.size(), 4u);
}

TEST_F(InboundFlowsTest, RefusalsOfOneClientLookTheSame) {
  flows_.refuse(arrival_, policy::Reason::limit);
  arrival_.client.port = 40001;
  flows_.refuse(arrival_, policy::Reason::limit);
  EXPECT_EQ(audit::roll_up_key(recorder_.events[0]), audit::roll_up_key(recorder_.events[1]));
  arrival_.client.address = *net::IpAddress::parse("192.0.2.8");
  flows_.refuse(arrival_, policy::Reason::limit);
  EXPECT_NE(audit::roll_up_key(recorder_.events[1]), audit::roll_up_key(recorder_.events[2]));
}

TEST_F(InboundFlowsTest, WhoSendsDatagramsIsOneFlowUntilItEnds) {
  arrival_.protocol = net::Protocol::udp;
  EXPECT_FALSE(flows_.flow_of(arrival_));
  open();
  EXPECT_EQ(flows_.flow_of(arrival_), InboundFlows::kFirst);
  flows_.settle(InboundFlows::Written::yes);
  EXPECT_EQ(flows_.datagrams(), 1u);
  Arrival other = arrival_;
  other.client.port = 40001;
  EXPECT_FALSE(flows_.flow_of(other));
  other = arrival_;
  other.link = 3;
  EXPECT_FALSE(flows_.flow_of(other)) << "the same link-local address on another link";
  other = arrival_;
  other.published.address = *net::IpAddress::parse("192.0.2.2");
  EXPECT_FALSE(flows_.flow_of(other));
  flows_.close(*then_, 0, 0, 0);
  EXPECT_FALSE(flows_.flow_of(arrival_));
  EXPECT_EQ(flows_.datagrams(), 0u);
}

TEST_F(InboundFlowsTest, RefusedDatagramsNameNobody) {
  arrival_.protocol = net::Protocol::udp;
  flows_.refuse(arrival_, policy::Reason::limit);
  EXPECT_FALSE(recorder_.events.at(0).src);
  arrival_.protocol = net::Protocol::tcp;
  flows_.refuse(arrival_, policy::Reason::limit);
  EXPECT_TRUE(recorder_.events.at(1).src);
}

}  // namespace
}  // namespace weir::dial
