#include "audit/tally.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/event_text.h"

namespace weir::audit {
namespace {

using testing::HasSubstr;
using testing::Not;

Event flow(EventType type, std::uint64_t number, std::string name, const char* address = "192.0.2.1") {
  Event event;
  event.type = type;
  event.proto = "tcp";
  event.flow = number;
  event.name = std::move(name);
  event.dst = *net::IpAddress::parse(address);
  event.port = 443;
  if (type == EventType::flow_close) {
    event.bytes_up = 100;
    event.bytes_down = 2000;
  }
  return event;
}

Event refusal(EventType type, std::string name, std::string reason, std::optional<std::uint64_t> count = {}) {
  Event event;
  event.type = type;
  event.proto = type == EventType::dns_refuse ? "" : "tcp";
  event.name = std::move(name);
  event.reason = std::move(reason);
  event.count = count;
  return event;
}

TEST(Tally, AddsUpByDestination) {
  Tally tally;
  for (const std::uint64_t number : {1u, 2u}) {
    tally.add(flow(EventType::flow_open, number, "a.example"));
    tally.add(flow(EventType::flow_close, number, "a.example", "192.0.2.9"));
  }
  tally.add(flow(EventType::flow_open, 3, "", "2001:db8::1"));
  const auto all = tally.destinations();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].text(), "tcp a.example:443");
  EXPECT_EQ(all[0].flows, 2u);
  EXPECT_EQ(all[0].bytes_up, 200u);
  EXPECT_EQ(all[0].bytes_down, 4000u);
  EXPECT_EQ(all[0].addresses.size(), 2u);
  EXPECT_EQ(all[1].text(), "tcp [2001:db8::1]:443");
  EXPECT_EQ(all[1].flows, 1u);
}

TEST(Tally, AFlowThatGotItsNameLaterCountsThere) {
  Tally tally;
  tally.add(flow(EventType::flow_open, 1, ""));
  tally.add(flow(EventType::flow_close, 1, "a.example"));
  const auto all = tally.destinations();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].text(), "tcp a.example:443");
  EXPECT_EQ(all[0].flows, 1u);
}

TEST(Tally, FlowsOfTwoSandboxesAreNotTakenForEachOther) {
  Tally tally;
  tally.add(flow(EventType::flow_open, 1, ""), "w-1");
  tally.add(flow(EventType::flow_open, 1, "a.example"), "w-2");
  tally.add(flow(EventType::flow_close, 1, "a.example"), "w-2");
  EXPECT_EQ(tally.destinations().size(), 2u);
}

TEST(Tally, RefusalsAndQuestionsCountEveryAttempt) {
  Tally tally;
  tally.add(refusal(EventType::flow_refuse, "evil.example", "no-rule"));
  tally.add(refusal(EventType::flow_refuse, "evil.example", "no-rule", 4));
  tally.add(refusal(EventType::dns_refuse, "evil.example", "no-rule"));
  tally.add(refusal(EventType::flow_refuse, "evil.example", "floor"));
  const auto refused = tally.refused();
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_EQ(refused[0].times, 6u);
  EXPECT_EQ(refused[0].reason, "no-rule");
  ASSERT_EQ(tally.names().size(), 1u);
  EXPECT_EQ(tally.names()[0].refused, 1u);
}

TEST(Tally, WhoCameInIsNowhereThatTheSandboxWent) {
  Tally tally;
  for (const EventType type : {EventType::flow_open, EventType::flow_close}) {
    Event came = flow(type, 1, "", "127.0.0.1");
    came.via = kViaPublish;
    tally.add(came);
  }
  EXPECT_TRUE(tally.empty());
}

TEST(Tally, IsBounded) {
  Tally tally;
  for (std::size_t i = 0; i < Tally::kMaxEntries + 10; ++i)
    tally.add(refusal(EventType::flow_refuse, "n" + std::to_string(i) + ".example", "no-rule"));
  EXPECT_EQ(tally.refused().size(), Tally::kMaxEntries);
  EXPECT_EQ(tally.left_out(), 10u);
  EXPECT_THAT(tally_text(tally), HasSubstr("and 10 more"));
}

TEST(TallyText, EscapesWhatTheGuestChose) {
  Tally tally;
  tally.add(flow(EventType::flow_close, 1, "a\x1b[2J\n.example"));
  tally.add(refusal(EventType::dns_refuse, "b\n.example", "no-rule"));
  const std::string text = tally_text(tally);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("b\\x0a.example"));
}

TEST(BytesText, RoundsDown) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1024), "1.0 KiB");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text((1u << 20) - 1), "1023.9 KiB");
  EXPECT_EQ(bytes_text(1u << 20), "1.0 MiB");
  EXPECT_EQ(bytes_text(~std::uint64_t{0}), "16383.9 PiB");
}

TEST(EventText, IsOneEscapedLine) {
  RecordedEvent recorded{.time = "T", .sandbox = "w-1", .sequence = 1, .policy = "", .generation = 1, .event = {}};
  recorded.event = flow(EventType::flow_refuse, 1, "evil\n\x1b.example");
  recorded.event.reason = "no-rule";
  recorded.event.count = 3;
  EXPECT_EQ(event_text(recorded), "T w-1 refuse  tcp evil\\x0a\\x1b.example:443 192.0.2.1 (no-rule), 3 times");
}

TEST(EventFilter, TakesTypesNamesAndVerdicts) {
  struct Row {
    const char* type;
    const char* name;
    const char* verdict;
    bool passes;
  };
  Event event = flow(EventType::flow_refuse, 1, "a.b.example");
  event.verdict = "refuse";
  const Row rows[] = {
      {"", "", "", true},
      {"flow", "", "", true},
      {"flow.refuse", "", "refuse", true},
      {"flow.open", "", "", false},
      {"dns", "", "", false},
      {"", "", "allow", false},
      {"", "a.b.example", "", true},
      {"", "A.B.example.", "", true},
      {"", "b.example", "", false},
      {"", "*.b.example", "", true},
      {"", "*.a.b.example", "", false},
      {"", ".a.b.example", "", true},
      {"", ".b.example", "", true},
      {"", ".example", "", true},
      {"", "*.xample", "", false},
      {"", ".b.exampl", "", false},
      {"", "192.0.2.1", "", true},
      {"", "192.0.2.2", "", false},
  };
  for (const Row& row : rows) {
    EventFilter filter;
    if (*row.type != '\0') ASSERT_TRUE(filter.add_type(row.type));
    if (*row.name != '\0') ASSERT_TRUE(filter.add_name(row.name));
    if (*row.verdict != '\0') ASSERT_TRUE(filter.set_verdict(row.verdict));
    EXPECT_EQ(filter.passes(event), row.passes) << row.type << " " << row.name << " " << row.verdict;
  }
}

TEST(EventFilter, RefusesWhatNothingIsSpelledLike) {
  EventFilter filter;
  const auto type = filter.add_type("flow.refused");
  ASSERT_FALSE(type);
  EXPECT_THAT(type.error().remedy(), HasSubstr("flow.refuse"));
  EXPECT_FALSE(filter.add_type(""));
  EXPECT_FALSE(filter.add_type("flo"));
  EXPECT_FALSE(filter.add_name("a b"));
  EXPECT_FALSE(filter.add_name("*."));
  EXPECT_FALSE(filter.set_verdict("deny"));
}

TEST(Tally, ALimitIsOneWhereverItWasReached) {
  Tally tally;
  Event hit = flow(EventType::limit, 1, "a.example");
  hit.limits = {{.limit = "connects_per_second", .value = "20"}};
  tally.add(hit);
  hit.dst = *net::IpAddress::parse("192.0.2.2");
  hit.count = 4;
  tally.add(hit);
  hit.limits = {{.limit = "egress_rate", .value = "100Mbit/s"}};
  tally.add(hit);
  ASSERT_EQ(tally.limits().size(), 2u);
  EXPECT_EQ(tally.limits()[0].times, 5u);
  EXPECT_EQ(tally.limits()[1].times, 4u);
}

TEST(EventText, SaysWhichLimitAndWhere) {
  RecordedEvent line;
  line.event = flow(EventType::limit, 1, "a.example");
  line.event.limits = {{.limit = "egress_bytes", .value = "1M"}};
  EXPECT_THAT(event_text(line), HasSubstr("limit   egress_bytes 1M, tcp a.example:443 192.0.2.1"));
  line.event = refusal(EventType::flow_refuse, "a.example", "limit");
  line.event.limits = {{.limit = "max_flows", .value = "3"}};
  EXPECT_THAT(event_text(line), HasSubstr("(limit: max_flows 3)"));
  line.event = {};
  line.event.type = EventType::limit;
  line.event.limits = {{.limit = "egress_rate", .value = "100Mbit/s"}};
  EXPECT_THAT(event_text(line), HasSubstr("limit   egress_rate 100Mbit/s"));
  EXPECT_THAT(event_text(line), Not(HasSubstr(",")));
}

}  // namespace
}  // namespace weir::audit
