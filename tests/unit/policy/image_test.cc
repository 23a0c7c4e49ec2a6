// The flat image: hostile bytes are refused or harmless, and a big list stays a matter of hash probes.
#include "policy/compiled/image.h"

#include <cstring>

#include "policy/compiled/format.h"
#include "policy/compiled/hash.h"
#include "policy/text/layer_lists.h"
#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

std::vector<std::uint8_t> sample() {
  return compile_policy(
             with_run(with_floor(flags("", {"*.a.example:80,443", "10.0.0.0/8", "@lan", "@pypi"}, {"b.example"}),
                                 "deny = [\"c.example\"]\nself_addresses = [\"203.0.113.1\"]"),
                      "", {"x.a.example:443"}))
      ->image;
}

// Everything that the decision functions read.
void use(const Image& image) {
  const HostFacts facts = lan({"10.0.0.0/24"});
  for (const char* text : {"x.a.example", "b.example", "pypi.org", "host.weir.internal", "localhost"}) {
    const net::DomainName asked = name(text);
    const NameCandidate candidate{.name = &asked, .aliases = {}};
    static_cast<void>(judge_name(image, asked, 1));
    for (const char* address : {"10.0.0.5", "93.184.215.14", "2606:4700::1", "169.254.169.254"}) {
      static_cast<void>(judge_answer(image, facts, candidate, ip(address)));
      const Request request{
          .protocol = net::Protocol::tcp, .address = ip(address), .port = 443, .names = std::span(&candidate, 1)};
      const Verdict verdict = admit_first_flight(image, facts, request, tls(text));
      static_cast<void>(image.entry_text(verdict.rule));
    }
  }
}

TEST(Image, EveryCutIsRefused) {
  const std::vector<std::uint8_t> bytes = sample();
  ASSERT_TRUE(Image::open(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(Image::open(Bytes(bytes).first(size))) << size;
}

TEST(Image, EveryFlippedByteIsRefusedOrHarmless) {
  const std::vector<std::uint8_t> bytes = sample();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0xff}) {
      std::vector<std::uint8_t> damaged = bytes;
      damaged[at] = static_cast<std::uint8_t>(value);
      const auto image = Image::open(damaged);
      if (image) use(*image);
    }
  }
}

TEST(Image, WhatItSays) {
  const std::vector<std::uint8_t> bytes = sample();
  const auto image = Image::open(bytes);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->mode(), Mode::allowlist);
  EXPECT_EQ(image->hash().size(), 16u);
  EXPECT_EQ(image->entry_text({.layer = Layer::session, .index = 0}), "b.example");
  EXPECT_EQ(image->entry_text({.layer = Layer::session, .index = 1}), "*.a.example:80,443");
  EXPECT_EQ(image->entry_text({.layer = Layer::session, .index = 4}), "@pypi");
  EXPECT_EQ(image->entry_text({.layer = Layer::session, .index = 5}), "");
  EXPECT_EQ(image->entry_text({.layer = Layer::session, .index = RuleRef::kNoEntry}), "");
  EXPECT_EQ(image->entry_text({}), "");
  EXPECT_EQ(image->layers().size(), 3u);
}

TEST(Image, ALayerOfManyNamesIsFoundByProbes) {
  ImageSource source;
  LayerSource layer;
  layer.mode = Mode::allowlist;
  constexpr std::uint32_t kCount = 100'000;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    Target target;
    target.name = "n" + std::to_string(i) + ".example";
    target.protocols = ProtocolSet::only(net::Protocol::tcp);
    layer.entries.push_back(
        {.action = Action::allow, .step = Step::allow, .text = target.name, .place = {}, .targets = {target}});
  }
  source.layers.push_back(std::move(layer));
  const std::vector<std::uint8_t> bytes = *build_image(source);
  const auto image = Image::open(bytes);
  ASSERT_TRUE(image);
  for (const std::uint32_t i : {0u, 1u, 77'777u, kCount - 1}) {
    EXPECT_EQ(word(judge_name(*image, name("n" + std::to_string(i) + ".example"), 1)), "ask");
  }
  EXPECT_EQ(word(judge_name(*image, name("n100000.example"), 1)), "nxdomain no-rule");
}

TEST(Image, EqualSourcesGiveEqualBytes) {
  EXPECT_EQ(sample(), sample());
}

TEST(Verdicts, NamesAreTheClosedList) {
  std::string all;
  for (std::uint8_t i = 0; i < kReasonCount; ++i) all += std::string(name_of(static_cast<Reason>(i))) + " ";
  EXPECT_EQ(
      all,
      " no-rule denied-by-rule floor rebind no-name sni-missing sni-mismatch host-missing host-mismatch ech not-tls "
      "not-http malformed limit quota protocol resolve-failed secret upstream-proxy audit shutting-down ");
}

// Names whose hashes begin alike, which whoever knows the key can choose.
std::vector<std::string> names_that_meet(std::uint64_t key) {
  constexpr unsigned kBitsAlike = 14;
  std::vector<std::string> names;
  for (unsigned i = 0; names.size() < 300; ++i) {
    std::string name = "n" + std::to_string(i) + ".test";
    if (hash_bytes(as_bytes(name), key) >> (64 - kBitsAlike) == 5) names.push_back(std::move(name));
  }
  return names;
}

TEST(Image, ChosenNamesMakeNoLargeImage) {
  const std::vector<std::string> names = names_that_meet(0);
  const auto compiled = compile_policy(flags("allowlist", names));
  ASSERT_TRUE(compiled) << compiled.error().what();
  EXPECT_LT(compiled->image.size(), 64u << 10);
  const auto image = Image::open(compiled->image);
  ASSERT_TRUE(image);
  for (const std::string& each : names) EXPECT_EQ(judge_name(*image, name(each), 1).answer, NameAnswer::ask) << each;
  EXPECT_NE(judge_name(*image, name("other.test"), 1).answer, NameAnswer::ask);
  const auto source = read_back(*image, "p");
  ASSERT_TRUE(source);
  EXPECT_EQ(*build_image(*source), compiled->image);
  EXPECT_EQ(compile_policy(flags("allowlist", names))->image, compiled->image);
}

// The names of a list are hashed when the table is laid out: then there is no other key to take.
TEST(Image, ChosenNamesBesideAListAreRefused) {
  const std::string list = "listed.example\n";
  CompileInput input = flags("public", {}, names_that_meet(key_of({{.spec = {}, .text = list, .place = {}}})));
  input.session.deny_lists = {"list"};
  input.read_list = [&](const std::string&) -> Result<std::string> { return list; };
  const auto compiled = compile_policy(input);
  ASSERT_FALSE(compiled);
  EXPECT_NE(compiled.error().what().find("meet in one place"), std::string::npos) << compiled.error().what();
}

}  // namespace
}  // namespace weir::policy::testing
