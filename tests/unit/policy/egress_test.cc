// A proxy of the user's own: how it is written, what it changes in a decision, what stands for a name.
#include <gtest/gtest.h>

#include "policy/compiled/stand_in.h"
#include "policy/text/compile.h"
#include "policy/text/explain.h"
#include "policy/text/narrow.h"
#include "policy/text/values.h"

namespace weir::policy::testing {
namespace {

using Kind = EgressProxy::Kind;

TEST(EgressUrl, IsAnAddressWithItsPort) {
  EXPECT_EQ(parse_egress_url("http://127.0.0.1:8080", Kind::http)->text(), "127.0.0.1:8080");
  EXPECT_EQ(parse_egress_url("http://localhost:3128/", Kind::http)->text(), "127.0.0.1:3128");
  EXPECT_EQ(parse_egress_url("socks5h://[fd00::1]:1080", Kind::socks)->text(), "[fd00::1]:1080");
}

TEST(EgressUrl, WhatCannotBeUsedIsAnErrorThatRepeatsNothing) {
  for (const char* text :
       {"http://me:hidden@127.0.0.1:1", "me:hidden", "hidden", "https://hidden:1", "socks5://hidden:1",
        "socks4://hidden:1", "http://hidden:1", "http://127.0.0.1", "http://127.0.0.1:hidden",
        "http://127.0.0.1:1/hidden", "http://127.1:1", "http://:1", "", "http://[::1:1"}) {
    for (const Kind kind : {Kind::http, Kind::socks}) {
      const auto parsed = parse_egress_url(text, kind);
      ASSERT_FALSE(parsed.has_value()) << text;
      EXPECT_FALSE(parsed.error().what().contains("hidden")) << text;
      EXPECT_FALSE(parsed.error().remedy().empty()) << text;
    }
  }
}

TEST(EgressCredentials, AreInAFileOrAVariable) {
  EgressProxy proxy;
  EXPECT_TRUE(parse_credentials_place("file:/etc/user", proxy).has_value());
  EXPECT_EQ(proxy.credentials, "/etc/user");
  EXPECT_TRUE(parse_credentials_place("env:PROXY_USER", proxy).has_value());
  EXPECT_EQ(proxy.credentials, "PROXY_USER");
  for (const char* text : {"", "me:hidden", "file:", "file:hidden", "env:", "env:1X", "env:A=hidden", "env:A B"}) {
    const auto parsed = parse_credentials_place(text, proxy);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_FALSE(parsed.error().what().contains("hidden")) << text;
  }
}

CompileInput through_proxy(std::vector<std::string> allow, std::string mode = "") {
  CompileInput input;
  input.session.mode = std::move(mode);
  input.session.allow = std::move(allow);
  input.session.upstream_proxy = "http://127.0.0.1:8080";
  return input;
}

struct Compiled_ {
  Compiled compiled;
  Image image;
};
Compiled_ compile(const CompileInput& input) {
  auto compiled = compile_policy(input);
  EXPECT_TRUE(compiled.has_value()) << compiled.error().what();
  auto image = Image::open(compiled->image);
  return {.compiled = std::move(*compiled), .image = std::move(*image)};
}

TEST(Egress, IsInTheImageWithThePlaceOfItsCredentials) {
  CompileInput input = through_proxy({"a.example"});
  input.session.upstream_socks = "socks5h://[::1]:1080";
  input.session.upstream_socks_auth = "file:/etc/user";
  const auto [compiled, image] = compile(input);
  ASSERT_EQ(image.egress_proxies().size(), 2u);
  EXPECT_EQ(egress_text(image.egress_proxies()[0]), "http://127.0.0.1:8080");
  EXPECT_EQ(egress_text(image.egress_proxies()[1]), "socks5h://[::1]:1080, credentials from file:/etc/user");
  EXPECT_TRUE(image.check_sums().has_value());
  const auto source = read_back(image, "");
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ(*build_image(*source), compiled.image);
  for (const net::Port web : {net::Port{80}, net::Port{443}}) EXPECT_EQ(egress_for(image, web)->kind, Kind::http);
  EXPECT_EQ(egress_for(image, 22)->kind, Kind::socks);
  EXPECT_EQ(egress_for(compile(through_proxy({"a.example"})).image, 22)->kind, Kind::http);
}

TEST(Egress, AFlagReplacesTheFileAndSaysSo) {
  CompileInput input;
  input.session.file = TextFile{.name = "p.toml",
                                .text =
                                    "version = 1\nallow = [\"a.example\"]\nupstream_proxy = \"http://127.0.0.1:1\"\n"
                                    "upstream_proxy_auth = \"env:FOR_THE_OTHER\"\n"};
  EXPECT_EQ(compile(input).image.egress_proxies()[0].credentials, "FOR_THE_OTHER");
  input.session.upstream_proxy = "http://127.0.0.1:2";
  const auto [compiled, image] = compile(input);
  EXPECT_EQ(egress_text(image.egress_proxies()[0]), "http://127.0.0.1:2");
  EXPECT_TRUE(compiled.notices.front().contains("replaces"));
}

PolicyFlags flags_that_allow(const char* target) {
  PolicyFlags flags;
  flags.allow = {target};
  return flags;
}

TEST(Egress, IsNotForARunToChange) {
  CompileInput input = through_proxy({"a.example"});
  input.run = flags_that_allow("a.example");
  EXPECT_EQ(compile(input).image.egress_proxies().size(), 1u);
  input.run->upstream_proxy = "http://127.0.0.1:8080";
  EXPECT_EQ(compile(input).image.egress_proxies().size(), 1u) << "the same is no change";
  input.run->upstream_proxy = "http://127.0.0.1:8081";
  ASSERT_FALSE(compile_policy(input).has_value());
  EXPECT_TRUE(is_cannot_widen(compile_policy(input).error()));
  PolicyFlags other = flags_that_allow("a.example:443");
  const auto narrowing = compile_narrowing(other);
  ASSERT_TRUE(narrowing.has_value());
  other.upstream_proxy = "http://127.0.0.1:8080";
  EXPECT_FALSE(compile_narrowing(other).has_value()) << "not even the same";
  const auto [compiled, image] = compile(through_proxy({"a.example"}));
  const auto narrowed = narrow_policy(image, *narrowing);
  ASSERT_TRUE(narrowed.has_value());
  EXPECT_EQ(Image::open(narrowed->image)->egress_proxies().size(), 1u);
}

TEST(Egress, HasNoMeaningOnTheHostsOwnNetwork) {
  EXPECT_FALSE(compile_policy(through_proxy({}, "host")).has_value());
}

TEST(StandIns, AreTheNamesOwnAndNobodyElses) {
  NameBook book;
  StandIns stand_ins;
  const auto name = [](const std::string& text) { return *net::DomainName::parse(text); };
  const auto learn = [&](const std::string& text, Family family) {
    const net::IpAddress address = stand_ins.of(book, name(text), family);
    EXPECT_TRUE(is_stand_in(address));
    EXPECT_EQ(address.is_v4(), family == Family::v4);
    book.learn(name(text), {}, address, 0, 1);
    return address;
  };
  const net::IpAddress first = learn("a.example", Family::v4);
  EXPECT_EQ(learn("a.example", Family::v4), first);
  EXPECT_NE(learn("b.example", Family::v4), first);
  EXPECT_NE(learn("a.example", Family::v6), first);
  // Also when the book forgot the name, its address is not another's before all had their turn.
  for (int i = 0; i < 70'000; ++i) EXPECT_NE(learn("n" + std::to_string(i) + ".example", Family::v4), first);
  EXPECT_TRUE(book.candidates(first, 1).empty());
  for (int i = 0; i < 70'000; ++i) {
    const net::IpAddress address = learn("m" + std::to_string(i) + ".example", Family::v4);
    ASSERT_EQ(book.candidates(address, 1).size(), 1u);
  }
}

struct Row {
  std::vector<std::string> allow;
  std::string mode;
  std::vector<std::string> deny;
  const char* name;  // nullptr: none
  std::string address;
  net::Port port;
  net::Protocol protocol;
  const char* expected;
};

constexpr auto kTcp = net::Protocol::tcp;
constexpr auto kUdp = net::Protocol::udp;
const std::string kStandIn = "198.18.0.1";
const Row kRows[] = {
    {{"a.example"}, "", {}, "a.example", kStandIn, 443, kTcp, "hold"},
    {{"a.example"}, "", {}, "a.example", "fd77:6569:7273::1", 443, kTcp, "hold"},
    {{"a.example"}, "", {}, "b.example", kStandIn, 443, kTcp, "no-rule"},
    {{"a.example:443"}, "", {}, "a.example", kStandIn, 80, kTcp, "no-rule"},
    {{}, "public", {}, "a.example", kStandIn, 443, kTcp, "allow"},
    {{}, "public", {"a.example"}, "a.example", kStandIn, 443, kTcp, "denied-by-rule"},
    {{}, "public", {"@public"}, "a.example", kStandIn, 443, kTcp, "denied-by-rule"},
    {{}, "public", {"0.0.0.0/0"}, "a.example", "fd77:6569:7273::1", 443, kTcp, "denied-by-rule"},
    {{}, "public", {"198.18.0.0/15"}, "a.example", kStandIn, 443, kTcp, "allow"},
    {{"198.18.0.0/15"}, "", {}, "a.example", kStandIn, 443, kTcp, "no-rule"},
    {{"::/0"}, "", {}, "a.example", kStandIn, 443, kTcp, "allow"},
    {{"udp://a.example:53"}, "", {}, "a.example", kStandIn, 53, kUdp, "upstream-proxy"},
    {{}, "open", {}, nullptr, "93.184.215.14", 53, kUdp, "upstream-proxy"},
    {{}, "open", {}, nullptr, "93.184.215.14", 443, kTcp, "allow"},
    {{"127.0.0.1"}, "", {}, nullptr, "127.0.0.1", 80, kTcp, "upstream-proxy"},
    {{"a.example"}, "", {}, nullptr, "127.0.0.1", 80, kTcp, "no-rule"},
    {{}, "public", {}, nullptr, "10.0.0.1", 443, kTcp, "floor"},
    {{}, "open", {}, nullptr, "169.254.169.254", 80, kTcp, "floor"},
};

TEST(Egress, PolicyFirstThenTransport) {
  for (const Row& row : kRows) {
    CompileInput input = through_proxy(row.allow, row.mode);
    input.session.deny = row.deny;
    const auto [compiled, image] = compile(input);
    std::vector<NameCandidate> names;
    std::optional<net::DomainName> name;
    if (row.name != nullptr) {
      name = *net::DomainName::parse(row.name);
      names.push_back({.name = &*name, .aliases = {}});
    }
    const Verdict verdict = admit(
        image, HostFacts{},
        {.protocol = row.protocol, .address = *net::IpAddress::parse(row.address), .port = row.port, .names = names});
    const std::string_view word =
        verdict.allowed ? (verdict.hold_first_flight ? "hold" : "allow") : name_of(verdict.reason);
    EXPECT_EQ(word, row.expected) << (row.name == nullptr ? "" : row.name) << " " << row.address << ":" << row.port;
  }
}

TEST(Egress, WithoutOneAStandInIsAnAddressLikeAnyOther) {
  CompileInput input = through_proxy({"a.example"});
  input.session.upstream_proxy.clear();
  const auto [compiled, image] = compile(input);
  const auto name = *net::DomainName::parse("a.example");
  const NameCandidate candidate{.name = &name, .aliases = {}};
  EXPECT_EQ(
      admit(image, HostFacts{}, {.address = *net::IpAddress::parse(kStandIn), .port = 443, .names = {&candidate, 1}})
          .reason,
      Reason::rebind);
}

TEST(Egress, IsExplained) {
  const auto [compiled, image] = compile(through_proxy({"a.example", "udp://a.example:53"}));
  const auto said = [&](const char* target) {
    return explanation_text(explain(image, HostFacts{}, *parse_explain_request(target)));
  };
  EXPECT_TRUE(said("a.example:443").contains("by name through the upstream proxy http://127.0.0.1:8080"));
  EXPECT_TRUE(said("udp://a.example:53").contains("refused, upstream-proxy"));
}

}  // namespace
}  // namespace weir::policy::testing
