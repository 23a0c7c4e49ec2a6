#include "audit/event_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/json_document.h"

namespace weir::audit {
namespace {

using testing::HasSubstr;

constexpr std::string_view kHead =
    R"({"v":1,"time":"2026-01-31T23:59:59.000001Z","sandbox":"w-0123abcd","seq":7,"type":")";
constexpr std::string_view kTail = R"(","policy":"00ff","generation":1)";

std::string line(std::string_view type, std::string_view members) {
  return std::string(kHead) + std::string(type) + std::string(kTail) + std::string(members) + "}";
}

Event whole_event(EventType type) {
  Event event;
  event.type = type;
  event.proto = "tcp";
  event.via = "tcp";
  event.name = "a\n\"\x1b[2J.example";
  event.dst = *net::IpAddress::parse("2001:db8::1");
  event.port = 443;
  event.src = *net::IpAddress::parse("192.0.2.9");
  event.src_port = 40000;
  event.guest_port = 80;
  event.published = {"127.0.0.1:8080:80/tcp"};
  event.verdict = "refuse";
  event.rule = Rule{.layer = "session", .index = 3, .text = "*.example"};
  event.reason = "denied-by-rule";
  event.query_type = "AAAA";
  event.rcode = "NOERROR";
  event.addresses = {*net::IpAddress::parse("192.0.2.1"), *net::IpAddress::parse("2001:db8::2")};
  event.run = 3;
  event.run_policy = "00ff";
  event.flow = 12;
  event.bytes_up = 1;
  event.bytes_down = ~std::uint64_t{0};
  event.ms = 5;
  event.count = 9;
  event.error = "ECONNREFUSED";
  event.mode = "allowlist";
  event.command = "python3";
  event.floor = "ab";
  event.cause = "sensitive";
  event.path = "/t\xc3\xa9st";
  event.notices = {"one", "t\xc3\xa9wo"};
  event.exit_code = -1;
  event.limits = {{.limit = "memory", .value = "512M", .times = 2}, {.limit = "egress_rate", .value = "100Mbit/s"}};
  return event;
}

std::string written(const Event& event) {
  LineWriter writer({.sandbox = "w-0123abcd", .policy = "00ff", .generation = 2});
  std::string lines;
  writer.append(lines, event, 7, {.seconds = 59, .microseconds = 1});
  lines.pop_back();
  return lines;
}

TEST(EventLine, WhatIsWrittenIsReadBack) {
  for (const EventType type : all_types()) {
    const std::string text = written(whole_event(type));
    const auto read = parse_line(text);
    ASSERT_TRUE(read) << read.error().what() << text;
    EXPECT_EQ(read->sandbox, "w-0123abcd");
    EXPECT_EQ(read->sequence, 7u);
    EXPECT_EQ(read->policy, "00ff");
    EXPECT_EQ(read->generation, 2u);
    EXPECT_EQ(read->time, "1970-01-01T00:00:59.000001Z");
    Event again = read->event;
    again.run_policy = read->policy;
    EXPECT_EQ(written(again), text);
  }
}

TEST(EventLine, ARunHasAPolicyOfItsOwn) {
  Event event = whole_event(EventType::flow_refuse);
  event.run = 3;
  event.run_policy = "abcd";
  const auto read = parse_line(written(event));
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(read->policy, "abcd");
  EXPECT_EQ(read->event.run, 3u);
  Event sessions = event;
  sessions.run.reset();
  EXPECT_NE(roll_up_key(event), roll_up_key(sessions));
}

TEST(EventLine, EveryMemberOfTheSchemaIsKnown) {
  std::ifstream file(WEIR_SOURCE_DIR "/docs/events.schema.json");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto schema = parse_json(text);
  ASSERT_TRUE(schema);
  for (const auto& [key, value] : schema->at("properties").items()) {
    const auto read = parse_line(line("flow.open", ",\"" + key + "\":[[]]"));
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().what(), testing::Not(HasSubstr("is unknown"))) << key;
  }
}

TEST(EventLine, RefusesWhatWeirDoesNotWrite) {
  struct Row {
    std::string text;
    const char* why;
  };
  const std::string open = R"(,"flow":1,"dst":"192.0.2.1","port":80)";
  ASSERT_TRUE(parse_line(line("flow.open", open)));
  const Row rows[] = {
      {"", "not JSON"},
      {"[]", "no JSON object"},
      {"{}", "'v' is missing"},
      {line("flow.open", open) + " x", "not JSON"},
      {line("flow.open", open).substr(0, 60), "not JSON"},
      {line("flow.open", open + ",\"flow\":2"), "'flow' twice"},
      {line("flow.open", open + ",\"extra\":2"), "'extra' is unknown"},
      {line("flow.open", open + ",\"name\":7"), "name is no text"},
      {line("flow.open", open + ",\"name\":\"\xc3\xa9\""), "never writes"},
      {line("flow.open", open + ",\"name\":\"a\x1b\""), "never writes"},
      {line("flow.open", open + ",\"name\":\"\\ud800\""), "not JSON"},
      {line("flow.open", open + ",\"name\":\"" + std::string(20000, 'a') + "\""), "name is too long"},
      {line("flow.open", open + ",\"name\":\"" + std::string(kMaxLine, 'a') + "\""), "the line is too long"},
      {line("flow.open", R"(,"flow":1,"dst":"192.0.2.01")"), "no address in canonical"},
      {line("flow.open", R"(,"flow":1,"dst":"2001:DB8::1")"), "no address in canonical"},
      {line("flow.open", R"(,"flow":1.5,"dst":"192.0.2.1")"), "flow is no whole number"},
      {line("flow.open", R"(,"flow":-1,"dst":"192.0.2.1")"), "flow is no whole number"},
      {line("flow.open", R"(,"flow":1,"dst":"192.0.2.1","port":65536)"), "port is too large"},
      {line("flow.open", ""), "a flow without a number"},
      {line("flow.close", open), "without its bytes"},
      {line("flow.refuse", R"(,"dst":"192.0.2.1")"), "a refusal without a reason"},
      {line("flow.refuse", R"(,"reason":"No Rule")"), "reason is no word"},
      {line("sandbox.start", ""), "a start without a mode"},
      {line("sandbox.exit", ""), "an end without an exit code"},
      {line("flow.opens", open), "'flow.opens' is unknown"},
      {line("limit", R"(,"limits":[{"limit":"memory"}])"), "no limit"},
      {line("flow.open", open + R"(,"rule":{"layer":"run","index":1})"), "no rule"},
      {line("flow.open", open + R"(,"rule":{"layer":"run","index":4294967296,"text":""})"), "rule.index is too large"},
      {line("flow.open", open + R"(,"count":0)"), "count is zero"},
      {"{\"v\":2" + line("limit", "").substr(6), "another version"},
      {std::string(kHead.substr(0, 8)) + "time\":\"yesterday\"}", "time is no time"},
  };
  for (const Row& row : rows) {
    const auto read = parse_line(row.text);
    ASSERT_FALSE(read) << row.text.substr(0, 300);
    EXPECT_THAT(read.error().what(), HasSubstr(row.why)) << row.text.substr(0, 300);
    for (const char c : read.error().what()) EXPECT_GE(c, 0x20);
  }
}

}  // namespace
}  // namespace weir::audit
