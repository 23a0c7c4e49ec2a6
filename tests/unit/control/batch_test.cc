#include "control/batch.h"

#include <gtest/gtest.h>

#include "control/gateway_messages.h"

namespace weir::control {
namespace {

TEST(Batch, GivesBackWhatWasAddedInOrder) {
  Batch batch;
  for (std::uint64_t flow = 1; flow <= 3; ++flow) batch.add(FromGateway(FlowClosed{.flow = flow}));
  Bytes rest = batch.bytes();
  for (std::uint64_t flow = 1; flow <= 3; ++flow) {
    const auto message = next_message<FromGateway>(rest);
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(std::get<FlowClosed>(*message).flow, flow);
  }
  EXPECT_TRUE(rest.empty());
}

TEST(Batch, IsFullWhileAnyMessageStillFits) {
  Batch batch;
  while (!batch.full()) batch.add(FromGateway(FlowClosed{.flow = 1}));
  EXPECT_LE(batch.bytes().size(), kMaxPacket);
  batch.clear();
  EXPECT_TRUE(batch.empty());
  EXPECT_FALSE(batch.full());
}

TEST(Batch, EveryTruncationIsRefused) {
  Batch batch;
  batch.add(FromGateway(FlowClosed{.flow = 7}));
  for (std::size_t length = 0; length < batch.bytes().size(); ++length) {
    Bytes rest = batch.bytes().first(length);
    EXPECT_FALSE(next_message<FromGateway>(rest).has_value()) << length;
  }
}

TEST(Batch, OnlyConnectedAnswersCarryADescriptor) {
  using Outcome = ConnectAnswer::Outcome;
  for (const Outcome outcome : {Outcome::refused, Outcome::failed, Outcome::resolve, Outcome::resolver})
    EXPECT_FALSE(carries_descriptor(ConnectAnswer{.flow = 1, .outcome = outcome, .error = 0, .name = {}}));
  for (const Outcome outcome : {Outcome::connected, Outcome::connected_hold})
    EXPECT_TRUE(carries_descriptor(ConnectAnswer{.flow = 1, .outcome = outcome, .error = 0, .name = {}}));
  EXPECT_TRUE(carries_descriptor(ResolverAnswer{.query = 1, .error = 0}));
  EXPECT_FALSE(carries_descriptor(ResolverAnswer{.query = 1, .error = 13}));
  EXPECT_FALSE(carries_descriptor(FlightAnswer{.flow = 1, .outcome = FlightAnswer::Outcome::allowed}));
}

}  // namespace
}  // namespace weir::control
