#include "supervisor/session/sleep_plan.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "policy/text/narrow.h"

namespace weir::supervisor {
namespace {

using Access = sandbox::Share::Access;

SessionOptions options() {
  SessionOptions made;
  sandbox::Spec& spec = made.run.spec;
  spec.id = "w-0123abcd";
  spec.lives_on = true;
  spec.env = {{"A", "1 \n\"x\""}, {"B", ""}};
  spec.shares = {
      {.source = "/srv/data", .target = "/data", .access = Access::overlay, .read_only_below = {".git/hooks"}}};
  spec.tools = {"/opt/tool"};
  spec.network = sandbox::Network::captured;
  spec.published = true;
  spec.addresses = sandbox::CaptureAddresses::defaults();
  spec.limits = {.memory_bytes = 1 << 20, .cpu_millis = 500, .processes = 9};
  made.run.policy_mode = "allowlist";
  made.run.snapshots_folder = "/snapshots";
  made.run.begun_from.parent = "s-00000001";
  made.run.begun_from.taint = "none";
  made.run.begun_from.base = {.image = "base", .digest = "d", .created = "c"};
  made.run.events = {.kind = EventsSink::Kind::file, .path = "/var/log/x"};
  made.run.after.emplace();
  made.name = "demo";
  made.labels = {{"k", "v"}};
  made.idle = std::chrono::milliseconds(1500);
  made.on_idle = SessionOptions::OnIdle::snapshot;
  made.bootstrap = "exec x";
  made.restart = SessionOptions::Restart::always;
  made.tool_sources = {"/opt/real"};
  made.layers_below = 2;
  return made;
}

SleepStage stage() {
  return {.slept = {.snapshot = "s-0000000a", .created = "t", .expires_at = 77, .sequence = 5, .disk_bytes = 4096},
          .policy = {.generation = 3, .entered_after = true},
          .policy_hash = "feed"};
}

TEST(SleepPlan, ComesBackAsItWas) {
  const auto text = sleep_plan_text(options(), stage());
  ASSERT_TRUE(text);
  const auto back = parse_sleep_plan(*text);
  ASSERT_TRUE(back) << back.error().what();
  EXPECT_EQ(back->slept, stage().slept);
  EXPECT_EQ(back->run.stage.generation, 3u);
  EXPECT_TRUE(back->run.stage.entered_after);
  EXPECT_EQ(back->run.policy_hash, "feed");
  EXPECT_EQ(back->run.spec.env, options().run.spec.env);
  EXPECT_EQ(back->run.spec.shares.front().access, Access::overlay);
  EXPECT_TRUE(back->run.after);
  // What it says is all there is: written again it is the same.
  const SleepStage again{.slept = *back->slept, .policy = back->run.stage, .policy_hash = back->run.policy_hash};
  EXPECT_EQ(sleep_plan_text(*back, again).value_or(""), *text);
}

TEST(SleepPlan, WithoutAnyOfItsPartsIsNone) {
  const std::string text = *sleep_plan_text(options(), stage());
  EXPECT_FALSE(parse_sleep_plan(""));
  EXPECT_FALSE(parse_sleep_plan("[]"));
  EXPECT_FALSE(parse_sleep_plan(text.substr(0, text.size() - 3)));
  for (const char* key :
       {"expires_at", "generation", "network", "published", "limits", "layers_below", "taint", "user"}) {
    std::string less = text;
    const auto at = less.find("\"" + std::string(key) + "\"");
    ASSERT_NE(at, std::string::npos) << key;
    less.replace(at + 1, 1, "X");
    EXPECT_FALSE(parse_sleep_plan(less)) << key;
  }
  std::string later = text;
  later.replace(later.find("\"v\":1"), 5, "\"v\":2");
  EXPECT_FALSE(parse_sleep_plan(later));
}

TEST(SleepPlan, DoesNotLoseBytesSilently) {
  SessionOptions odd = options();
  odd.run.spec.env.emplace_back("ODD", "\xff");
  EXPECT_FALSE(sleep_plan_text(odd, stage()));
}

TEST(SleepPlan, KeepsALayerThatWaits) {
  policy::PolicyFlags flags;
  flags.mode = "allowlist";
  flags.allow = {"one.example:443", "192.0.2.1"};
  const auto after = policy::compile_narrowing(flags);
  ASSERT_TRUE(after);
  const auto image = image_of_after(*after);
  ASSERT_TRUE(image);
  const auto back = after_of_image(*image);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->layer.mode, after->layer.mode);
  EXPECT_EQ(back->layer.entries.size(), after->layer.entries.size());
  EXPECT_EQ(back->limits, after->limits);
  EXPECT_EQ(back->written_limits, after->written_limits);
  EXPECT_EQ(*image_of_after(*back), *image);
  EXPECT_FALSE(after_of_image(Bytes(*image).first(image->size() - 1)));
}

}  // namespace
}  // namespace weir::supervisor
