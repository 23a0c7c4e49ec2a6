// Flags, files and layers: what compiles, and the errors that say what to write.
#include "policy/text/compile.h"

#include <algorithm>

#include "policy/text/mode.h"
#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

struct ErrorRow {
  CompileInput input;
  const char* says;
  const char* remedy;
};

CompileInput insisting(const char* what) {
  return flags("", {"a.example"}, {}, {what});
}

const std::vector<ErrorRow>& error_rows() {
  static const auto* const rows = new std::vector<ErrorRow>{
      // Contradictions of modes and flags.
      {flags("none", {"a.example"}), "mode none has no way out", "-n allowlist"},
      {flags("blocked", {"a.example"}), "mode none has no way out", "-n allowlist"},
      {flags("inbound", {"a.example"}), "mode inbound has no way out", "-n allowlist"},
      {flags("open", {"a.example"}), "allows everything already", "-n allowlist"},
      {flags("full", {"10.0.0.1"}), "allows everything already", "-n allowlist"},
      {flags("", {}, {"a.example"}), "deny without a mode", "-n public"},
      {flags("denylist", {}), "denies nothing", "--deny"},
      {flags("host", {"a.example"}), "no gateway", "-n open"},
      {flags("host", {}, {"a.example"}), "no gateway", "-n open"},
      {flags("publik", {}), "no network mode", "write public"},
      {flags("allow-list", {}), "no network mode", "write allowlist"},
      {flags("wide", {}), "no network mode", "none, inbound"},
      {file("mode = \"none\"\nallow = [\"a.example\"]"), "mode none has no way out", ""},
      {file("mode = \"none\"\n[publish]\ntcp = [\"8080:80\"]"), "no published ports", "-n inbound"},
      {file("mode = \"open\"\nallow = [\"a.example\"]"), "allows everything already", ""},
      {file("deny = [\"a.example\"]"), "deny without a mode", ""},
      {file("[[rules]]\naction = \"deny\"\nto = [\"a.example\"]"), "rules without a mode", ""},
      {file("mode = \"denylist\""), "denies nothing", ""},
      // Targets in flags.
      {flags("", {"*.com"}), "--allow: '*.com', column 1: '*.com' is too broad", "--insist broad=*.com"},
      {flags("", {"a.example,,b.example"}), "column 11", ""},
      {flags("", {""}), "missing", "example.com"},
      {flags("public", {}, {"127.1"}), "--deny: '127.1', column 1", ""},
      {flags("", {"a.example:0"}), "column 11", ""},
      // Insisting.
      {insisting("broad"), "is missing", ""},
      {insisting("floor=10.0.0.0/8"), "not an IP address", ""},
      {insisting("flor=10.0.0.1"), "nothing of that name", "floor=ADDRESS"},
      // Targets in files keep their place.
      {file("allow = [\"*.com\"]"), "p.toml:2:11", "broad=*.com"},
  };
  return *rows;
}

TEST(Compile, ErrorsSayWhatToWrite) {
  for (const ErrorRow& row : error_rows()) {
    const auto compiled = compile_policy(row.input);
    ASSERT_FALSE(compiled) << row.says;
    EXPECT_NE(compiled.error().what().find(row.says), std::string::npos) << compiled.error().what();
    EXPECT_NE(compiled.error().remedy().find(row.remedy), std::string::npos)
        << compiled.error().what() << " / " << compiled.error().remedy();
    EXPECT_EQ(compiled.error().what().find('\n'), std::string::npos);
  }
}

TEST(Compile, ModesAndTheirSpellings) {
  const struct {
    const char* word;
    Mode mode;
  } rows[] = {
      {"none", Mode::none},           {"blocked", Mode::none},
      {"zerotrust", Mode::none},      {"off", Mode::none},
      {"inbound", Mode::inbound},     {"mounts", Mode::inbound},
      {"mounts_only", Mode::inbound}, {"mounts-only", Mode::inbound},
      {"MOUNTS_ONLY", Mode::inbound}, {"allowlist", Mode::allowlist},
      {"public", Mode::publicly},     {"public_only", Mode::publicly},
      {"denylist", Mode::publicly},   {"semitrusted", Mode::semitrusted},
      {"open", Mode::open},           {"allow_all", Mode::open},
      {"full", Mode::open},           {"host", Mode::host},
  };
  for (const auto& row : rows) {
    const auto parsed = parse_mode(row.word);
    ASSERT_TRUE(parsed) << row.word;
    EXPECT_EQ(parsed->mode, row.mode) << row.word;
  }
}

TEST(Compile, TheModeFollowsFromTheLists) {
  EXPECT_EQ(compile_policy(flags("", {}))->mode, Mode::none);
  EXPECT_EQ(compile_policy(flags("", {"a.example"}))->mode, Mode::allowlist);
  EXPECT_EQ(compile_policy(flags("", {"a.example"}, {"b.example"}))->mode, Mode::allowlist);
  EXPECT_EQ(compile_policy(file(""))->mode, Mode::none);
  EXPECT_EQ(compile_policy(file("allow = []"))->mode, Mode::allowlist);
  EXPECT_EQ(compile_policy(flags("none", {}, {"b.example"}))->mode, Mode::none);
  EXPECT_EQ(compile_policy(flags("denylist", {}, {"b.example"}))->mode, Mode::publicly);
}

TEST(Compile, FlagsAddToTheFile) {
  CompileInput input = file("mode = \"allowlist\"\nallow = [\"a.example\"]\ndeny = [\"x.a.example\"]");
  input.session.allow = {"b.example:80,443,c.example"};
  input.session.deny = {"y.example"};
  const auto compiled = compile_policy(input);
  ASSERT_TRUE(compiled);
  std::vector<std::string> texts;
  for (const Entry& entry : compiled->source.layers[0].entries) texts.push_back(entry.text);
  EXPECT_EQ(texts,
            (std::vector<std::string>{"x.a.example", "y.example", "a.example", "b.example:80,443", "c.example"}));
}

CompileInput publishing(std::vector<std::string> ports, std::string mode = "", std::vector<std::string> allow = {}) {
  CompileInput input = flags(std::move(mode), std::move(allow));
  input.session.publish = std::move(ports);
  return input;
}

TEST(Compile, PublishedPorts) {
  const auto alone = compile_policy(publishing({"8080:80"}));
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->mode, Mode::inbound);
  EXPECT_TRUE(alone->notices.empty());
  const auto open = compile_policy(publishing({"8080:80", "0.0.0.0:0:80", "0.0.0.0:0:81"}, "", {"a.example"}));
  ASSERT_TRUE(open);
  EXPECT_EQ(open->mode, Mode::allowlist);
  EXPECT_EQ(open->source.publishes.size(), 3u);
  ASSERT_EQ(open->notices.size(), 2u);
  EXPECT_NE(open->notices[0].find("0.0.0.0:0:80/tcp is published to other machines"), std::string::npos);
  CompileInput both = file("[publish]\ntcp = [\"8080:80\"]\nudp = [\"8080:80\"]");
  both.session.publish = {"[::1]:8080:80"};
  const auto added = compile_policy(both);
  ASSERT_TRUE(added);
  EXPECT_EQ(added->source.publishes.size(), 3u);

  std::vector<std::string> many;
  for (int port = 1; port <= 257; ++port) many.push_back("0:" + std::to_string(port));
  both.session.publish = {"8080:81"};
  const std::pair<CompileInput, const char*> wrong[] = {
      {both, "published twice: 127.0.0.1:8080:80/tcp and 127.0.0.1:8080:81/tcp"},
      {publishing({"8080:80"}, "none"), "mode none has no published ports"},
      {publishing({"8080:80"}, "host"), "mode host has no published ports"},
      {publishing(many), "more than 256 ports"},
      {publishing({"8080"}), "option -p: '8080' is no published port"},
  };
  for (const auto& [input, says] : wrong) {
    const auto made = compile_policy(input);
    ASSERT_FALSE(made) << says;
    EXPECT_NE(made.error().what().find(says), std::string::npos) << made.error().what();
  }
}

TEST(Compile, ARunPublishesOnlyWhatItsSessionDoes) {
  CompileInput input = publishing({"8080:80", "8081:81"});
  input.run = PolicyFlags{};
  input.run->publish = {"8081:81"};
  const auto narrower = compile_policy(input);
  ASSERT_TRUE(narrower) << narrower.error().what();
  EXPECT_EQ(narrower->source.publishes.size(), 1u);
  input.run->publish = {"8082:81"};
  const auto wider = compile_policy(input);
  ASSERT_FALSE(wider);
  EXPECT_TRUE(is_cannot_widen(wider.error()));
}

TEST(Compile, AFlagReplacesTheModeAndSaysSo) {
  CompileInput input = file("mode = \"allowlist\"\ndeny = [\"a.example\"]");
  input.session.mode = "public";
  const auto compiled = compile_policy(input);
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->mode, Mode::publicly);
  EXPECT_EQ(compiled->notices, std::vector<std::string>{"-n public replaces mode \"allowlist\" of p.toml"});
  input.session.mode = "allowlist";
  EXPECT_TRUE(compile_policy(input)->notices.empty());
}

TEST(Compile, WhatIsOpenedOrInsistedIsPrinted) {
  const auto notices = [](const CompileInput& input) {
    std::string all;
    for (const std::string& each : compile_policy(input)->notices) all += each + "\n";
    return all;
  };
  EXPECT_NE(notices(flags("", {"@private"})).find("'@private' opens @private"), std::string::npos);
  EXPECT_NE(notices(flags("", {"10.1.2.3:22"})).find("opens @private"), std::string::npos);
  EXPECT_NE(notices(flags("", {"127.0.0.1:80"})).find("opens @loopback"), std::string::npos);
  EXPECT_NE(notices(flags("", {"host.weir.internal:80"})).find("services of this machine"), std::string::npos);
  EXPECT_NE(notices(flags("open", {})).find("mode open"), std::string::npos);
  EXPECT_NE(notices(flags("", {"*.com"}, {}, {"broad=*.com"})).find("insisted: '*.com'"), std::string::npos);
  EXPECT_NE(notices(insisting("floor=169.254.169.254")).find("169.254.169.254 is lifted"), std::string::npos);
  EXPECT_EQ(notices(flags("", {"a.example", "93.184.215.14", "@pypi", "0.0.0.0/0:443"})), "");
}

TEST(Compile, HostHasNoImage) {
  const auto compiled = compile_policy(flags("host", {}));
  ASSERT_TRUE(compiled);
  EXPECT_TRUE(compiled->image.empty());
  EXPECT_EQ(compiled->hash.size(), 16u);
}

TEST(Compile, EqualPoliciesHaveEqualHashes) {
  const auto hash = [](const CompileInput& input) { return compile_policy(input)->hash; };
  EXPECT_EQ(hash(flags("", {"a.example"})), hash(flags("allowlist", {"a.example"})));
  EXPECT_NE(hash(flags("", {"a.example"})), hash(flags("", {"b.example"})));
  EXPECT_NE(hash(flags("", {"a.example"})), hash(flags("public", {"a.example"})));
  EXPECT_EQ(hash(flags("", {"a.example"})).find_first_not_of("0123456789abcdef"), std::string::npos);
}

struct WidenRow {
  CompileInput input;
  const char* expected;  // "ok", "part", "cannot_widen"
};

const std::vector<WidenRow>& widen_rows() {
  const auto session_file = [](const char* text) { return file(text); };
  static const auto* const rows = new std::vector<WidenRow>{
      {with_run(flags("", {"a.example"}), "", {"a.example"}), "ok"},
      {with_run(flags("", {"a.example"}), "", {"a.example:443"}), "ok"},
      {with_run(flags("", {"a.example:443"}), "", {"a.example"}), "part"},
      {with_run(flags("", {"a.example:443"}), "", {"a.example:80"}), "cannot_widen"},
      {with_run(flags("", {"a.example"}), "", {"udp://a.example:53"}), "cannot_widen"},
      {with_run(flags("", {"*.a.example"}), "", {"x.a.example"}), "ok"},
      {with_run(flags("", {"*.a.example"}), "", {"a.example"}), "cannot_widen"},
      {with_run(flags("", {"*.a.example"}), "", {".a.example"}), "part"},
      {with_run(flags("", {"x.a.example"}), "", {"*.a.example"}), "part"},
      {with_run(flags("", {"*.a.example"}), "", {"*.a.example"}), "ok"},
      {with_run(flags("", {"*.a.example"}), "", {"*.x.a.example"}), "ok"},
      {with_run(flags("public", {}), "", {"a.example"}), "ok"},
      {with_run(flags("public", {}, {"a.example"}), "", {"a.example"}), "cannot_widen"},
      {with_run(flags("public", {}, {"x.a.example"}), "", {".a.example"}), "part"},
      {with_run(flags("public", {}, {"a.example:25"}), "", {"a.example"}), "part"},
      {with_run(flags("semitrusted", {}), "", {"a.example:443"}), "ok"},
      {with_run(flags("semitrusted", {}), "", {"a.example:22"}), "cannot_widen"},
      {with_run(flags("", {"10.1.0.0/16"}), "", {"10.1.2.3"}), "ok"},
      {with_run(flags("", {"10.1.0.0/16"}), "", {"10.0.0.0/8"}), "part"},
      {with_run(flags("", {"10.1.0.0/16"}), "", {"10.2.0.0/16"}), "cannot_widen"},
      {with_run(flags("", {"93.184.0.0/16"}), "", {"0.0.0.0/0:443"}), "part"},
      {with_run(flags("", {"93.184.0.0/16"}), "", {"a.example"}), "cannot_widen"},
      {with_run(flags("public", {}), "", {"93.184.0.0/16"}), "ok"},
      {with_run(flags("public", {}), "", {"0.0.0.0/0"}), "part"},
      {with_run(flags("public", {}), "", {"@public"}), "ok"},
      {with_run(flags("public", {}), "", {"@private"}), "cannot_widen"},
      {with_run(flags("", {"@private"}), "", {"@private"}), "ok"},
      {with_run(flags("", {"@private"}), "", {"10.1.2.3"}), "ok"},
      {with_run(flags("", {"10.1.2.3"}), "", {"@private"}), "part"},
      {with_run(flags("open", {}), "", {"10.1.2.3"}), "ok"},
      {with_run(flags("open", {}), "", {"host.weir.internal:80"}), "ok"},
      {with_run(flags("", {"host.weir.internal:80"}), "", {"host.weir.internal:80"}), "ok"},
      {with_run(flags("public", {}), "", {"host.weir.internal:80"}), "cannot_widen"},
      {with_run(flags("", {"@pypi"}), "", {"@pypi"}), "ok"},
      {with_run(flags("", {"pypi.org"}), "", {"@pypi"}), "part"},
      {with_run(flags("", {"@npm"}), "", {"@pypi"}), "cannot_widen"},
      // Modes.
      {with_run(flags("", {"a.example"}), "public", {}), "cannot_widen"},
      {with_run(flags("public", {}), "open", {}), "cannot_widen"},
      {with_run(flags("public", {}), "semitrusted", {}), "ok"},
      {with_run(flags("semitrusted", {}), "public", {}), "cannot_widen"},
      {with_run(flags("none", {}), "inbound", {}), "cannot_widen"},
      {with_run(flags("none", {}), "", {"a.example"}), "cannot_widen"},
      {with_run(flags("open", {}), "none", {}), "ok"},
      {with_run(flags("open", {}), "host", {}), "cannot_widen"},
      // The operator's floor is an outer layer too.
      {with_run(with_floor(flags("public", {}), "deny = [\"a.example\"]"), "", {"a.example"}), "cannot_widen"},
      {with_run(session_file("mode = \"public\"\n[[rules]]\naction = \"deny\"\nto = [\"93.184.0.0/16\"]"), "",
                {"93.184.1.1"}),
       "cannot_widen"},
  };
  return *rows;
}

TEST(Compile, ARunOnlyNarrows) {
  for (std::size_t i = 0; i < widen_rows().size(); ++i) {
    const WidenRow& row = widen_rows()[i];
    const auto compiled = compile_policy(row.input);
    std::string got = "ok";
    if (!compiled) {
      got = is_cannot_widen(compiled.error()) ? "cannot_widen" : compiled.error().what();
    } else if (!compiled->warnings.empty()) {
      got = "part";
    }
    EXPECT_EQ(got, row.expected) << "row " << i << " " << (row.input.run->allow.empty() ? "" : row.input.run->allow[0]);
  }
}

TEST(Compile, ARunCannotLiftTheFloor) {
  CompileInput input = with_run(flags("public", {}), "", {"a.example"});
  input.run->insist = {"floor=169.254.169.254"};
  const auto compiled = compile_policy(input);
  ASSERT_FALSE(compiled);
  EXPECT_TRUE(is_cannot_widen(compiled.error()));
}

TEST(Compile, LimitsNarrowAndTablesAreKept) {
  CompileInput input = file(R"(
allow = ["a.example"]
[dns]
upstream = ["9.9.9.9", "tls://1.1.1.1", "[2620:fe::fe]:5353"]
types = ["TXT", "type64"]
[limits]
egress_bytes = "200MB"
max_flows = 10
egress_rate = "10Mbit/s"
connect_timeout = "5s"
idle_timeout = 90
[publish]
tcp = ["8080:80", "0.0.0.0:0:81"]
udp = ["[::1]:5353:53"]
)");
  const Policy made = policy(input);
  const Limits& limits = made.image->limits();
  EXPECT_EQ(limits[Limit::egress_bytes], 200'000'000u);
  EXPECT_EQ(limits[Limit::max_flows], 10u);
  EXPECT_EQ(limits[Limit::egress_bits_per_second], 10'000'000u);
  EXPECT_EQ(limits[Limit::connect_timeout_ms], 5'000u);
  EXPECT_EQ(limits[Limit::idle_timeout_ms], 90'000u);
  EXPECT_EQ(limits[Limit::half_open], 64u);
  ASSERT_EQ(made.image->dns_upstreams().size(), 3u);
  EXPECT_EQ(made.image->dns_upstreams()[0].endpoint.text(), "9.9.9.9:53");
  EXPECT_EQ(made.image->dns_upstreams()[1].endpoint.text(), "1.1.1.1:853");
  EXPECT_EQ(made.image->dns_upstreams()[1].transport, DnsUpstream::Transport::tls);
  EXPECT_EQ(made.compiled.upstreams.size(), 2u);
  EXPECT_EQ(made.image->publishes().size(), 3u);
  EXPECT_EQ(made.image->publishes()[1].bind.text(), "0.0.0.0");
  EXPECT_EQ(made.image->publishes()[2].protocol, net::Protocol::udp);
  EXPECT_EQ(ask_name(made, "a.example", 64), "ask");

  CompileInput with_second = input;
  with_second.run = PolicyFlags{};
  with_second.run->file =
      TextFile{.name = "r.toml",
               .text = "version = 1\nallow = [\"a.example\"]\n[limits]\nmax_flows = 500\negress_bytes = \"1MB\""};
  const Policy narrowed = policy(with_second);
  EXPECT_EQ(narrowed.image->limits()[Limit::max_flows], 10u);
  EXPECT_EQ(narrowed.image->limits()[Limit::egress_bytes], 1'000'000u);
  EXPECT_EQ(policy(flags("open", {})).image->limits()[Limit::max_flows], Limits::kUnlimited);
  EXPECT_EQ(policy(flags("semitrusted", {})).image->limits()[Limit::egress_bytes_total], 1u << 30);
}

}  // namespace
}  // namespace weir::policy::testing
