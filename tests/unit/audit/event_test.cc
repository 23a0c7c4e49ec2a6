#include "audit/event.h"

#include <gtest/gtest.h>

#include "audit/json.h"

namespace weir::audit {
namespace {

TEST(JsonString, EscapesEverythingThatCouldDeceive) {
  EXPECT_EQ(json_string("plain"), "\"plain\"");
  EXPECT_EQ(json_string("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(json_string("line\nbreak\x1b[2J"), "\"line\\u000abreak\\u001b[2J\"");
  EXPECT_EQ(json_string(std::string_view("nul\0in", 6)), "\"nul\\u0000in\"");
  EXPECT_EQ(json_string("\xc3\xbc\xe2\x80\xae"), "\"\\u00fc\\u202e\"");
  EXPECT_EQ(json_string("\xf0\x9f\x98\x80"), "\"\\ud83d\\ude00\"");
  EXPECT_EQ(json_string("\xff\xc0\xaf\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(json_string("cut \xe2\x82"), "\"cut \\ufffd\\ufffd\"");
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

}  // namespace
}  // namespace weir::audit
