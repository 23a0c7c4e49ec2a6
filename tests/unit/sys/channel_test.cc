#include "sys/channel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace weir::sys {
namespace {

using State = Channel::Received::State;

TEST(Channel, WhatAPeerSentLastIsReadThoughItClosedWithMessagesUnread) {
  auto channels = Channel::pair();
  ASSERT_TRUE(channels);
  auto& [ours, theirs] = *channels;
  const std::array<std::uint8_t, 3> reason = {1, 2, 3};
  const std::array<std::uint8_t, 1> order = {9};
  ASSERT_TRUE(theirs.send(reason));
  ASSERT_TRUE(ours.send(order));  // never read
  theirs = Channel();

  std::array<std::uint8_t, 16> buffer;
  const auto last = ours.receive(buffer);
  ASSERT_TRUE(last) << last.error().what();
  ASSERT_EQ(last->state, State::message);
  EXPECT_TRUE(std::ranges::equal(last->message, reason));
  const auto end = ours.receive(buffer);
  ASSERT_TRUE(end) << end.error().what();
  EXPECT_EQ(end->state, State::closed);
}

TEST(Channel, NothingIsNotTheEnd) {
  auto channels = Channel::pair();
  ASSERT_TRUE(channels);
  std::array<std::uint8_t, 16> buffer;
  const auto received = channels->first.receive(buffer);
  ASSERT_TRUE(received) << received.error().what();
  EXPECT_EQ(received->state, State::nothing);
}

}  // namespace
}  // namespace weir::sys
