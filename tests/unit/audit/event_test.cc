#include "audit/event.h"

#include <gtest/gtest.h>

namespace weir::audit {
namespace {

TEST(Rfc3339, MatchesKnownInstants) {
  EXPECT_EQ(rfc3339({0, 0}), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(rfc3339({951782400, 1}), "2000-02-29T00:00:00.000001Z");
  EXPECT_EQ(rfc3339({1798761599, 999999}), "2026-12-31T23:59:59.999999Z");
  EXPECT_EQ(rfc3339({-1, 0}), "1969-12-31T23:59:59.000000Z");
}

TEST(Line, CarriesTheEnvelopeAndLeavesOutWhatDoesNotApply) {
  Event event;
  event.type = EventType::flow_refuse;
  event.proto = "tcp";
  event.via = "tcp";
  event.name = "evil.example";
  event.dst = *net::IpAddress::parse("192.0.2.1");
  event.port = 443;
  event.verdict = "refuse";
  event.reason = "no-rule";
  event.rule = Rule{.layer = "session", .index = std::nullopt, .text = ""};
  EXPECT_EQ(line_of(event, {.sandbox = "w-1", .policy = "0011", .generation = 1}, 7, {0, 5}),
            "{\"v\":1,\"time\":\"1970-01-01T00:00:00.000005Z\",\"sandbox\":\"w-1\",\"seq\":7,\"type\":\"flow.refuse\","
            "\"policy\":\"0011\",\"generation\":1,\"proto\":\"tcp\",\"via\":\"tcp\",\"name\":\"evil.example\","
            "\"dst\":\"192.0.2.1\",\"port\":443,\"verdict\":\"refuse\",\"rule\":{\"layer\":\"session\",\"index\":null,"
            "\"text\":\"\"},\"reason\":\"no-rule\"}\n");
}

TEST(RollUpKey, KeepsDestinationsApart) {
  Event one;
  one.type = EventType::flow_refuse;
  one.dst = *net::IpAddress::parse("192.0.2.1");
  one.port = 443;
  Event other = one;
  EXPECT_EQ(roll_up_key(one), roll_up_key(other));
  other.port = 444;
  EXPECT_NE(roll_up_key(one), roll_up_key(other));
  other = one;
  other.reason = "floor";
  EXPECT_NE(roll_up_key(one), roll_up_key(other));
}

TEST(RollUpKey, KeepsAnswersAndRulesApart) {
  Event one;
  one.type = EventType::dns_answer;
  one.rcode = "NOERROR";
  one.addresses = {*net::IpAddress::parse("192.0.2.1")};
  one.rule = Rule{.layer = "session", .index = 1, .text = "a"};
  Event other = one;
  other.flow = 7;
  EXPECT_EQ(roll_up_key(one), roll_up_key(other));
  other.rcode = "NXDOMAIN";
  EXPECT_NE(roll_up_key(one), roll_up_key(other));
  other = one;
  other.addresses = {*net::IpAddress::parse("192.0.2.2")};
  EXPECT_NE(roll_up_key(one), roll_up_key(other));
  other = one;
  other.rule->index = 2;
  EXPECT_NE(roll_up_key(one), roll_up_key(other));
  other.rule.reset();
  EXPECT_NE(roll_up_key(one), roll_up_key(other));
}

}  // namespace
}  // namespace weir::audit
