#include "image/snapshot/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json_document.h"

namespace weir::image {
namespace {

Snapshot some() {
  return {.id = "s-0123abcd",
          .name = "tools",
          .labels = {{"team", "a \"b\""}},
          .created = "2026-01-01T00:00:00Z",
          .base = {.image = "debian", .digest = "sha256:1", .created = "x"},
          .layers = {{.digest = std::string(64, 'a'), .entries = 1, .bytes = 2}},
          .mode = "allowlist",
          .policy = "h",
          .taint = "inbound",
          .session = "w-1",
          .session_name = "build",
          .parent = "s-00000000"};
}

TEST(Snapshot, ReadsWhatItWrites) {
  const std::string text = snapshot_json(some());
  const auto read = parse_snapshot(text);
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(snapshot_json(*read), text);
  EXPECT_EQ(read->labels, some().labels);
  EXPECT_TRUE(parse_json(snapshot_summary(some())));
}

TEST(Snapshot, RefusesWhatItDoesNotWrite) {
  const std::pair<std::string, std::string> changes[] = {
      {"\"v\":1", "\"v\":2"},
      {"s-0123abcd", "s-0123abcg"},
      {"s-0123abcd", "../../etc/x"},
      {"tools", "to/ols"},
      {"tools", "s-01234567"},  // a name that is an id
      {"\"debian\"", "\"../debian\""},
      {std::string(64, 'a'), std::string(63, 'a')},
      {std::string(64, 'a'), "../../../../tmp"},
      {"\"taint\":\"inbound\"", "\"taint\":\"open\""},
      {"\"entries\":1", "\"entries\":-1"},
      {"\"labels\"", "\"label\""},
      {"\"parent\"", "\"parents\""},
  };
  for (const auto& [from, to] : changes) {
    std::string text = snapshot_json(some());
    text.replace(text.find(from), from.size(), to);
    EXPECT_FALSE(parse_snapshot(text)) << to;
  }
  Snapshot twice = some();
  twice.layers.push_back(twice.layers.front());
  EXPECT_FALSE(parse_snapshot(snapshot_json(twice)));
}

TEST(Snapshot, TaintOnlyGetsNarrower) {
  EXPECT_EQ(taint_of("none", ""), "none");
  EXPECT_EQ(taint_of("inbound", ""), "inbound");
  EXPECT_EQ(taint_of("inbound", "none"), "none");
  EXPECT_EQ(taint_of("open", "none"), "none");
  EXPECT_EQ(taint_of("allowlist", ""), "");
}

TEST(Snapshot, TaintedFilesSeeNoWiderMode) {
  EXPECT_TRUE(may_open("none", "none"));
  for (const char* mode : {"inbound", "allowlist", "public", "semitrusted", "open", "host"})
    EXPECT_FALSE(may_open("none", mode)) << mode;
  EXPECT_TRUE(may_open("inbound", "none"));
  EXPECT_TRUE(may_open("inbound", "inbound"));
  EXPECT_FALSE(may_open("inbound", "allowlist"));
  EXPECT_TRUE(may_open("", "open"));
}

}  // namespace
}  // namespace weir::image
