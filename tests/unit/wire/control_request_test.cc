#include "wire/control_request.h"

#include <gtest/gtest.h>

namespace weir::wire {
namespace {

using Op = ControlRequest::Op;

TEST(ControlRequest, SaysWhatIsWanted) {
  const auto narrow = parse_control_request(
      R"({"op": "narrow", "network_mode": "allowlist", "network_allowlist": ["a.example:443", "b.example"],)"
      R"( "network_denylist": ["c.example"], "insist": ["broad=*.com"], "policy": "version = 1\n"})");
  ASSERT_TRUE(narrow) << narrow.error().what();
  EXPECT_EQ(narrow->op, Op::narrow);
  EXPECT_EQ(narrow->network_mode, "allowlist");
  EXPECT_EQ(narrow->network_allowlist, (std::vector<std::string>{"a.example:443", "b.example"}));
  EXPECT_EQ(narrow->network_denylist, std::vector<std::string>{"c.example"});
  EXPECT_EQ(narrow->insist, std::vector<std::string>{"broad=*.com"});
  EXPECT_EQ(narrow->policy, "version = 1\n");
  EXPECT_EQ(parse_control_request(R"({"network": "none", "op": "narrow"})")->network_mode, "none");
  EXPECT_EQ(parse_control_request(R"({"op":"show"})")->op, Op::show);
}

TEST(ControlRequest, WhatIsNotExactlyThatIsRefused) {
  const char* const rows[] = {
      "",
      "{",
      "[]",
      "null",
      "{}",
      R"({"op": 1})",
      R"({"op": "Show"})",
      R"({"op": "show"} x)",
      R"({"op": "show", "op": "show"})",
      R"({"op": "show", "network_mode": "none"})",
      R"({"op": "narrow"})",
      R"({"op": "narrow", "network_mode": ""})",
      R"({"op": "narrow", "network_mode": null})",
      R"({"op": "narrow", "network_mode": "none", "network": "open"})",
      R"({"op": "narrow", "network_allowlist": "a.example"})",
      R"({"op": "narrow", "network_allowlist": [1]})",
      R"({"op": "narrow", "network_allowlist": ["a\u0000b"]})",
      R"({"op": "narrow", "allow": ["a.example"]})",
      R"({"op": "narrow", "policy": {}})",
      "{\"op\": \"show\xff\"}",
  };
  for (const char* row : rows) {
    const auto parsed = parse_control_request(row);
    EXPECT_FALSE(parsed) << row;
    if (!parsed) EXPECT_FALSE(parsed.error().remedy().empty()) << row;
  }
}

TEST(ControlRequest, Bounds) {
  std::string list = "[";
  for (std::size_t i = 0; i <= ControlRequest::kMaxItems; ++i) list += i == 0 ? "\"a\"" : ",\"a\"";
  EXPECT_FALSE(parse_control_request(R"({"op":"narrow","network_allowlist":)" + list + "]}"));
  EXPECT_FALSE(parse_control_request(R"({"op":)" + std::string(100'000, '[')));
  const std::string head = R"({"op":"narrow","policy":")";
  EXPECT_TRUE(parse_control_request(head + std::string(ControlRequest::kMaxLine - head.size() - 3, 'x') + "\"}"));
  EXPECT_FALSE(parse_control_request(head + std::string(ControlRequest::kMaxLine - head.size() - 2, 'x') + "\"}"));
}

TEST(ControlReply, IsOneLine) {
  EXPECT_EQ(control_reply_line({.refused = {}, .generation = 2, .policy = "00ff", .cut = 3, .warnings = {"a\nb"}}),
            "{\"generation\":2,\"policy\":\"00ff\",\"cut\":3,\"warnings\":[\"a\\u000ab\"]}\n");
  EXPECT_EQ(control_reply_line({.refused = ControlReply::Refusal{.code = "busy", .message = "m", .remedy = "r"}}),
            "{\"error\":{\"code\":\"busy\",\"message\":\"m\",\"remedy\":\"r\"}}\n");
}

}  // namespace
}  // namespace weir::wire
