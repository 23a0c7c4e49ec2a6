#include "audit/event.h"

#include <gtest/gtest.h>

namespace weir::audit {
namespace {

std::string line_of(LineWriter& writer, const Event& event, std::uint64_t sequence, Timestamp time) {
  std::string lines;
  writer.append(lines, event, sequence, time);
  return lines;
}

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
  LineWriter writer({.sandbox = "w-1", .policy = "0011", .generation = 1});
  EXPECT_EQ(line_of(writer, event, 7, {0, 5}),
            "{\"v\":1,\"time\":\"1970-01-01T00:00:00.000005Z\",\"sandbox\":\"w-1\",\"seq\":7,\"type\":\"flow.refuse\","
            "\"policy\":\"0011\",\"generation\":1,\"proto\":\"tcp\",\"via\":\"tcp\",\"name\":\"evil.example\","
            "\"dst\":\"192.0.2.1\",\"port\":443,\"verdict\":\"refuse\",\"rule\":{\"layer\":\"session\",\"index\":null,"
            "\"text\":\"\"},\"reason\":\"no-rule\"}\n");
}

TEST(Line, HasTheTimeOfItsOwnAndStandsBehindTheLinesBeforeIt) {
  LineWriter writer({.sandbox = "w\"1", .policy = "0011", .generation = 3});
  Event event;
  event.type = EventType::flow_close;
  event.flow = 9;
  std::string lines;
  writer.append(lines, event, 1, {59, 999999});
  writer.append(lines, event, 2, {59, 7});
  writer.append(lines, event, 3, {60, 0});
  const auto line = [](const char* time, int sequence) {
    return "{\"v\":1,\"time\":\"1970-01-01T00:" + std::string(time) +
           "Z\",\"sandbox\":\"w\\\"1\",\"seq\":" + std::to_string(sequence) +
           ",\"type\":\"flow.close\",\"policy\":\"0011\",\"generation\":3,\"flow\":9}\n";
  };
  EXPECT_EQ(lines, line("00:59.999999", 1) + line("00:59.000007", 2) + line("01:00.000000", 3));
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
