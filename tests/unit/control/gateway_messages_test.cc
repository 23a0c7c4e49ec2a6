#include "control/gateway_messages.h"

#include <gtest/gtest.h>

namespace weir::control {
namespace {

net::DomainName name(const char* text) {
  return *net::DomainName::parse(text);
}

Learn full_learn() {
  Learn learn;
  learn.query = 0x1122334455667788;
  learn.name = name("a.example");
  for (std::size_t i = 0; i < 8; ++i) learn.aliases.push_back(name("b.example"));
  for (std::size_t i = 0; i < kMaxListed; ++i) learn.addresses.push_back(*net::IpAddress::parse("2001:db8::1"));
  learn.ttl = 300;
  learn.type = 28;
  return learn;
}

TEST(GatewayMessages, SurviveTheRoundTrip) {
  std::array<std::uint8_t, kMaxMessage> buffer;
  const Bytes encoded = encode(FromGateway(full_learn()), buffer);
  const auto decoded = decode<FromGateway>(encoded);
  ASSERT_TRUE(decoded.has_value());
  const Learn& learn = std::get<Learn>(*decoded);
  EXPECT_EQ(learn.query, 0x1122334455667788u);
  EXPECT_EQ(learn.name->text(), "a.example");
  EXPECT_EQ(learn.aliases.size(), 8u);
  EXPECT_EQ(learn.addresses.size(), kMaxListed);
  EXPECT_EQ(learn.ttl, 300u);
  EXPECT_EQ(learn.type, 28);
}

TEST(GatewayMessages, LargestMessageFits) {
  Learn learn = full_learn();
  const std::string longest =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
  learn.name = name(longest.c_str());
  for (auto& alias : learn.aliases) alias = name(longest.c_str());
  std::array<std::uint8_t, kMaxMessage> buffer;
  EXPECT_TRUE(decode<FromGateway>(encode(FromGateway(learn), buffer)).has_value());
}

TEST(GatewayMessages, EveryTruncationAndExtensionIsRefused) {
  std::array<std::uint8_t, kMaxMessage> buffer;
  const Bytes encoded = encode(FromGateway(full_learn()), buffer);
  for (std::size_t length = 0; length < encoded.size(); ++length) {
    EXPECT_FALSE(decode<FromGateway>(encoded.first(length)).has_value()) << length;
  }
  EXPECT_FALSE(decode<FromGateway>(Bytes(buffer).first(encoded.size() + 1)).has_value());
}

TEST(GatewayMessages, ValuesOutsideTheirTypeAreRefused) {
  std::array<std::uint8_t, kMaxMessage> buffer;
  Connect connect;
  connect.destination = {*net::IpAddress::parse("192.0.2.1"), 443};
  std::size_t size = encode(FromGateway(connect), buffer).size();
  buffer[size - 3] = 2;  // Resolution has two values; behind it the entry and whether there is a name
  EXPECT_FALSE(decode<FromGateway>(Bytes(buffer).first(size)).has_value());
  buffer[size - 3] = 0;
  EXPECT_TRUE(decode<FromGateway>(Bytes(buffer).first(size)).has_value());
  for (const std::uint8_t protocol : {std::uint8_t{0}, std::uint8_t{4}}) {
    buffer[9] = protocol;  // behind the message's and the flow's number
    EXPECT_FALSE(decode<FromGateway>(Bytes(buffer).first(size)).has_value()) << int{protocol};
  }
  buffer[0] = 200;  // no such message
  EXPECT_FALSE(decode<FromGateway>(Bytes(buffer).first(size)).has_value());

  NameAnswered answered;
  answered.name = name("a.example");
  size = encode(FromGateway(answered), buffer).size();
  buffer[3] = 'A';  // not canonical
  EXPECT_FALSE(decode<FromGateway>(Bytes(buffer).first(size)).has_value());
  buffer[3] = '\0';
  EXPECT_FALSE(decode<FromGateway>(Bytes(buffer).first(size)).has_value());
}

TEST(GatewayMessages, ANarrowerPolicyTravelsWithItsFile) {
  std::array<std::uint8_t, kMaxMessage> buffer;
  const ToGateway policy = Policy{.generation = 2, .size = 4096, .idle_timeout_ms = 7};
  EXPECT_TRUE(carries_descriptor(policy));
  EXPECT_FALSE(carries_descriptor(Cut{.flow = 1}));
  const auto decoded = decode<ToGateway>(encode(policy, buffer));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<Policy>(*decoded).size, 4096u);
  EXPECT_EQ(std::get<Policy>(*decoded).idle_timeout_ms, 7u);
  EXPECT_EQ(std::get<Cut>(*decode<ToGateway>(encode(ToGateway(Cut{.flow = 9}), buffer))).flow, 9u);
  const auto taken = decode<FromGateway>(encode(FromGateway(PolicyTaken{.generation = 3}), buffer));
  EXPECT_EQ(std::get<PolicyTaken>(*taken).generation, 3u);
}

}  // namespace
}  // namespace weir::control
