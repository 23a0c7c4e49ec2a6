// A policy that becomes narrower while it is in force: layers add up, and none gives back what another took.
#include "policy/text/narrow.h"

#include <gtest/gtest.h>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

Result<Narrowed> narrowed(const Image& image, const CompileInput& by) {
  WEIR_TRY(const Narrowing narrowing, compile_narrowing(by.session));
  return narrow_policy(image, narrowing);
}

// An image and the bytes it looks into.
struct Next {
  std::vector<std::uint8_t> bytes;
  Image image;
};
Next next(const Image& image, const CompileInput& by) {
  auto made = narrowed(image, by);
  EXPECT_TRUE(made) << (made ? "" : made.error().what());
  std::vector<std::uint8_t> bytes =
      made ? std::move(made->image) : std::vector(image.bytes().begin(), image.bytes().end());
  Image opened = *Image::open(bytes);
  return {.bytes = std::move(bytes), .image = std::move(opened)};
}

bool allows(const Image& image, const char* address, net::Port port) {
  return admit(image, {}, {.protocol = net::Protocol::tcp, .address = ip(address), .port = port, .names = {}}).allowed;
}

TEST(Narrow, EveryLayerMustAllow) {
  const Policy start = policy(flags("", {"93.184.216.0/24"}));
  const Next second = next(*start.image, flags("", {"93.184.216.10", "93.184.216.20"}));
  EXPECT_TRUE(allows(second.image, "93.184.216.10", 443));
  EXPECT_FALSE(allows(second.image, "93.184.216.66", 443));
  const Next third = next(second.image, flags("", {"93.184.216.0/24:443"}));
  EXPECT_TRUE(allows(third.image, "93.184.216.20", 443));
  EXPECT_FALSE(allows(third.image, "93.184.216.20", 80)) << "the third layer";
  EXPECT_FALSE(allows(third.image, "93.184.216.66", 443)) << "the second layer, still";
  const Next last = next(third.image, flags("none", {}));
  EXPECT_FALSE(allows(last.image, "93.184.216.20", 443));
  EXPECT_NE(start.compiled.hash, std::string(second.image.hash()));
}

TEST(Narrow, WhatDecidedIsToldApartFromLayerToLayer) {
  const Policy start = policy(flags("public", {}));
  const Next second = next(*start.image, flags("public", {}, {"93.184.216.1"}));
  const Next third = next(second.image, flags("public", {}, {"93.184.216.2"}));
  for (const auto& [address, text] : {std::pair("93.184.216.1", "93.184.216.1"), {"93.184.216.2", "93.184.216.2"}}) {
    const Verdict verdict =
        admit(third.image, {}, {.protocol = net::Protocol::tcp, .address = ip(address), .port = 443, .names = {}});
    EXPECT_EQ(verdict.reason, Reason::denied_by_rule);
    EXPECT_EQ(name_of(verdict.rule.layer), "run");
    EXPECT_EQ(third.image.entry_text(verdict.rule), text);
  }
}

TEST(Narrow, LimitsOnlyShrink) {
  const Policy start = policy(file("mode = 'public'\n[limits]\nmax_flows = 10\n"));
  EXPECT_EQ(next(*start.image, file("mode = 'public'\n[limits]\nmax_flows = 5\n")).image.limits()[Limit::max_flows],
            5u);
  EXPECT_EQ(next(*start.image, file("mode = 'public'\n[limits]\nmax_flows = 50\n")).image.limits()[Limit::max_flows],
            10u);
  EXPECT_EQ(next(*start.image, flags("semitrusted", {})).image.limits()[Limit::egress_bytes_total], 1u << 30);
}

TEST(Narrow, AWishThatIsWiderIsAnError) {
  struct Row {
    CompileInput by;
    const char* expected;  // "ok", "part", "cannot_widen", or of another error a piece
  };
  const Policy start = policy(flags("", {"a.example:443", "93.184.216.0/24"}));
  const Row rows[] = {
      {flags("", {"a.example:443"}), "ok"},
      {flags("", {"a.example:443"}, {"93.184.216.5"}), "ok"},
      {flags("none", {}), "ok"},
      {flags("", {"a.example"}), "part"},
      {flags("", {"93.184.0.0/16"}), "part"},
      {flags("", {"b.example:443"}), "cannot_widen"},
      {flags("", {"a.example:80"}), "cannot_widen"},
      {flags("public", {}), "cannot_widen"},
      {flags("open", {}), "cannot_widen"},
      {flags("host", {}), "cannot_widen"},
      {flags("", {"a.example:443"}, {}, {"floor=169.254.169.254"}), "cannot_widen"},
      {flags("", {"a.example:443", "nonsense!"}), "nonsense"},
      {flags("semitrusted", {}), "cannot_widen"},
      {file("mode = 'none'\n[dns]\nupstream = ['9.9.9.9']\n"), "dns.upstream cannot change"},
      {file("mode = 'inbound'\n[publish]\ntcp = ['1:1']\n"), "publish cannot change"},
      {file("mode = 'allowlist'\nallow = ['a.example:443']\ndeny_lists = ['x']\n"), "deny_lists cannot change"},
  };
  for (const Row& row : rows) {
    const auto made = narrowed(*start.image, row.by);
    const std::string what = made ? (made->warnings.empty() ? "ok" : "part") : made.error().what();
    EXPECT_NE(what.find(row.expected), std::string::npos) << what << ", wanted " << row.expected;
    EXPECT_EQ(!made && is_cannot_widen(made.error()), std::string(row.expected) == "cannot_widen") << what;
  }
}

TEST(Narrow, ThirtyTimesAndNoMore) {
  const Policy start = policy(flags("", {"a.example"}));
  std::vector<Next> all;
  const Image* image = &*start.image;
  for (int i = 0; i < 30; ++i) {
    all.push_back(next(*image, flags("", {"a.example"})));
    image = &all.back().image;
    ASSERT_EQ(image->layers().size(), static_cast<std::size_t>(i) + 2);
  }
  const auto more = narrowed(*image, flags("", {"a.example"}));
  ASSERT_FALSE(more);
  EXPECT_NE(more.error().what().find("too often"), std::string::npos);
}

TEST(Narrow, AFloorStaysAround) {
  const Policy start = policy(with_floor(flags("public", {}), "deny = ['93.184.216.9']\n"));
  const Next second = next(*start.image, flags("public", {}));
  EXPECT_FALSE(allows(second.image, "93.184.216.9", 443));
  EXPECT_TRUE(allows(second.image, "93.184.216.8", 443));
}

}  // namespace
}  // namespace weir::policy::testing
