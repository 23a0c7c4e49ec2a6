// explain, lint, show, cases, sets: what people read.
#include <algorithm>
#include <set>

#include "policy/text/cases.h"
#include "policy/text/explain.h"
#include "policy/text/json_text.h"
#include "policy/text/lint.h"
#include "policy/text/show.h"
#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

std::string explained(const CompileInput& input, std::string_view target, const HostFacts& facts = {}) {
  const Policy made = policy(input);
  const auto request = parse_explain_request(target);
  if (!request) return request.error().what();
  return explanation_text(explain(*made.image, facts, *request));
}

struct ExplainRow {
  CompileInput input;
  const char* target;
  std::vector<const char*> says;
};

const std::vector<ExplainRow>& explain_rows() {
  static const auto* const rows = new std::vector<ExplainRow>{
      {flags("", {"*.example.com"}),
       "example.com:443",
       {"refused, no-rule", "(layer session)", "'*.example.com' does not include example.com itself",
        "'.example.com' or 'example.com' would", "--allow 'example.com:443'"}},
      {flags("", {"example.com"}), "example.com:443", {"allowed", "decided by: example.com (layer session)", "SNI"}},
      {flags("", {"example.com"}), "example.com", {"tcp example.com:443: allowed"}},
      {flags("", {"example.com"}),
       "www.example.com",
       {"refused, no-rule", "'example.com' is that name only", "'.example.com'"}},
      {flags("", {"example.com:443"}), "example.com:80", {"refused, no-rule", "other ports or protocols"}},
      {flags("", {"example.com"}), "udp://example.com:53", {"refused, no-rule", "--allow 'udp://example.com:53'"}},
      {flags("public", {}, {"evil.example"}),
       "evil.example:443",
       {"refused, denied-by-rule", "evil.example (layer session)"}},
      {flags("", {"0.0.0.0/0:443"}),
       "10.0.0.5:443",
       {"refused, floor", "opens only its public part", "--allow '10.0.0.5:443'"}},
      {flags("public", {}), "10.0.0.5:443", {"refused, floor", "the soft floor"}},
      {flags("open", {}), "169.254.169.254:80", {"refused, floor", "the hard floor", "--insist floor=169.254.169.254"}},
      {flags("public", {}), "93.184.215.14:22", {"allowed", "the default of mode public"}},
      {flags("public", {}, {"e.example"}), "93.184.215.14:443", {"allowed", "bytes wait"}},
      {flags("public", {}, {"e.example"}), "udp://93.184.215.14:443", {"refused, protocol", "UDP 443"}},
      {flags("none", {}), "example.com", {"refused, no-rule", "the default of mode none"}},
      {flags("public", {}), "db", {"refused, no-rule"}},
      {flags("", {"10.1.2.0/24"}), "db.corp.internal:5432", {"refused, no-rule", "names are asked only where"}},
      {flags("public", {}), "localhost:80", {"allowed", "never leaves the sandbox"}},
      {flags("open", {}), "host.weir.internal:80", {"allowed"}},
      {flags("", {"host.weir.internal:80"}), "host.weir.internal:81", {"refused, no-rule"}},
      {with_floor(flags("public", {}), "deny = [\"a.example\"]"),
       "a.example",
       {"denied-by-rule", "(layer floor)", "operator"}},
      {with_run(flags("public", {}), "", {"a.example"}), "b.example", {"refused, no-rule", "(layer run)"}},
      {file("require_name = true\nallow = [\"93.184.0.0/16\"]"), "93.184.215.14", {"refused, no-name", "require_name"}},
      {flags("", {"icmp://93.184.215.14"}), "icmp://93.184.215.14", {"icmp 93.184.215.14: allowed"}},
      {flags("", {"a.example"}), "[2606:4700::1]:443", {"tcp [2606:4700::1]:443: refused"}},
      {flags("", {"a.example"}), "@pypi", {"not one destination"}},
      {flags("", {"a.example"}), "10.0.0.0/8", {"more than one destination"}},
      {flags("", {"a.example"}), "*.a.example", {"more than one destination"}},
      {flags("", {"a.example"}), "a.example:80,443", {"more than one destination"}},
      {flags("", {"a.example"}), "127.1", {"column 1"}},
  };
  return *rows;
}

TEST(Explain, SaysWhoDecidedAndWhatWouldChangeIt) {
  for (const ExplainRow& row : explain_rows()) {
    const std::string text = explained(row.input, row.target);
    for (const char* says : row.says) EXPECT_NE(text.find(says), std::string::npos) << says << " in\n" << text;
  }
}

TEST(Explain, Json) {
  const Policy made = policy(flags("", {"*.example.com"}));
  const auto request = parse_explain_request("example.com:443");
  const std::string json = explanation_json(explain(*made.image, {}, *request));
  EXPECT_TRUE(
      json.starts_with(R"({"subject":"tcp example.com:443","verdict":"refuse","reason":"no-rule","layer":"session",)"))
      << json;
}

// The remedy that explain gives works: following it turns the refusal into an allowance.
TEST(Explain, RemediesHold) {
  for (const char* target : {"example.com:443", "10.0.0.5:22", "udp://a.example:53", "93.184.215.14:80", "127.0.0.1:80",
                             "icmp://93.184.215.14", "[fd00::1]:22", "db:5432"}) {
    const std::string refused = explained(flags("allowlist", {}), target);
    const std::string mark = "--allow '";
    const std::size_t start = refused.find(mark);
    ASSERT_NE(start, std::string::npos) << refused;
    const std::size_t from = start + mark.size();
    const std::string remedy = refused.substr(from, refused.find('\'', from) - from);
    EXPECT_NE(explained(flags("", {remedy}), target).find(": allowed"), std::string::npos) << target << " " << remedy;
  }
}

std::vector<std::string> codes(const CompileInput& input) {
  const auto compiled = compile_policy(input);
  EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().what());
  std::vector<std::string> found;
  for (const LintFinding& each : lint(*compiled)) found.push_back(each.code);
  return found;
}

TEST(Lint, Table) {
  using Codes = std::vector<std::string>;
  const struct {
    CompileInput input;
    Codes expected;
  } rows[] = {
      {flags("", {"a.example"}), {}},
      {flags("", {"*.a.example"}), {"apex"}},
      {flags("", {"*.a.example", "a.example"}), {}},
      {flags("", {".a.example"}), {}},
      {flags("", {"@pypi"}), {}},
      {flags("", {"@npm"}), {"uploads"}},
      {flags("", {"@github:443"}), {"uploads"}},
      {flags("", {"*.com"}, {}, {"broad=*.com"}), {"apex", "broad"}},
      {flags("", {".amazonaws.com"}), {"platform"}},
      {flags("", {"github.io"}), {"platform"}},
      {flags("", {"9.9.9.9:53"}), {"dns-tunnel"}},
      {flags("", {"9.9.9.9"}), {}},
      {flags("", {"0.0.0.0/0:443"}), {"public-part"}},
      {flags("", {"a.example", "a.example:443"}), {"shadowed"}},
      {flags("", {"a.example:443", "a.example"}), {}},
      {flags("", {".a.example", "x.a.example"}), {"shadowed"}},
      {flags("", {"x.a.example"}, {".a.example"}), {"shadowed"}},
      {flags("", {"10.1.0.0/16"}, {"10.0.0.0/8"}), {"shadowed"}},
      {flags("", {"10.0.0.0/8"}, {"10.1.0.0/16"}), {"overlap"}},
      {flags("", {"0.0.0.0/0", "10.1.2.3"}), {"public-part"}},  // opens what the wider one does not
      {flags("open", {}, {"evil.example"}), {"unbound-deny"}},
      {flags("public", {}, {".evil.example"}), {"unbound-deny"}},
      {flags("public", {}, {"93.184.0.0/16"}), {}},
      {flags("", {"a.example"}, {"evil.example"}), {}},
      {file("mode = \"public\"\nrequire_name = true\ndeny = [\"evil.example\"]"), {}},
      {file("mode = \"allowlist\"\n[[rules]]\naction = \"deny\"\nto = [\"@any\"]\n[[rules]]\naction = \"allow\"\nto = "
            "[\"a.example\"]"),
       {"shadowed"}},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(codes(row.input), row.expected)
        << (row.input.session.allow.empty() ? "" : row.input.session.allow[0]) << " "
        << (row.input.session.deny.empty() ? "" : row.input.session.deny[0]);
  }
}

TEST(Lint, FindingsHaveAPlace) {
  const auto compiled = compile_policy(file("allow = [\"*.a.example\"]"));
  const auto findings = lint(*compiled);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].place, "p.toml:2:11");
}

TEST(Lint, TenAlikeAreShownAndTheOthersCounted) {
  std::vector<std::string> denied;
  for (int i = 0; i < 10; ++i) denied.push_back("n" + std::to_string(i) + ".example");
  EXPECT_EQ(codes(flags("public", {}, denied)).size(), 10u);
  for (int i = 10; i < 42; ++i) denied.push_back("n" + std::to_string(i) + ".example");
  const auto compiled = compile_policy(flags("public", {}, denied));
  const auto findings = lint(*compiled);
  ASSERT_EQ(findings.size(), 11u);
  EXPECT_EQ(findings.back().code, "unbound-deny");
  EXPECT_EQ(findings.back().message, "and 32 more like the 10 above");
}

TEST(Show, ListsEveryLayerAndTheFloor) {
  CompileInput input = with_run(with_floor(flags("", {"@pypi", "b.example"}, {"x.example"}), "deny = [\"z.example\"]"),
                                "", {"pypi.org"});
  const auto compiled = compile_policy(input);
  ASSERT_TRUE(compiled);
  const std::string text = show_text(*compiled);
  for (const char* part :
       {"policy ", "built-in floor", "floor: mode open", "  deny z.example", "session: mode allowlist",
        "  deny x.example", "allow @pypi  = pypi.org files.pythonhosted.org", "run: mode allowlist",
        "everything else is refused", "limit: max_flows 1024\n", "limit: egress_bytes 1G\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  }
  const std::string json = show_json(*compiled);
  EXPECT_NE(json.find(R"("layer":"run","mode":"allowlist")"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("targets":["pypi.org","files.pythonhosted.org","*.pythonhosted.org"])"), std::string::npos);
}

TEST(Sets, EveryMemberParsesAndIsNarrow) {
  std::set<std::string_view> names;
  for (const HostSet& set : host_sets()) {
    EXPECT_TRUE(names.insert(set.name).second) << set.name;
    EXPECT_FALSE(set.hosts.empty()) << set.name;
    const auto parsed = parse_target("@" + std::string(set.name), {});
    ASSERT_TRUE(parsed) << set.name << (parsed ? "" : parsed.error().what);
    EXPECT_EQ(parsed->targets.size(), set.hosts.size());
    for (const Target& target : parsed->targets) EXPECT_EQ(target.breadth, Breadth::ordinary) << target.name;
  }
  for (const char* expected : {"pypi", "npm", "debian", "github", "crates", "goproxy"}) {
    EXPECT_NE(find_host_set(expected), nullptr) << expected;
  }
  EXPECT_EQ(preset_name(*find_host_set("pypi")), "PYPI_HOSTS");
  const std::vector<std::string_view> pypi(find_host_set("pypi")->hosts.begin(), find_host_set("pypi")->hosts.end());
  EXPECT_EQ(pypi, (std::vector<std::string_view>{"pypi.org", "files.pythonhosted.org", "*.pythonhosted.org"}));
  EXPECT_EQ(require_host_set("@pypy").error().remedy(), "write @pypi");
  EXPECT_TRUE(require_host_set("pypi"));
}

TEST(Sets, CloudMetadataDenyParsesAndDenies) {
  const std::vector<std::string> targets = cloud_metadata_deny();
  const Policy made = policy(flags("open", {}, targets));
  for (const char* address : {"169.254.1.1:80", "[fe80::1]:80"}) EXPECT_EQ(word(ask(made, address)), "denied-by-rule");
  for (const char* address : {"169.254.169.254:80", "[fd00:ec2::254]:80", "100.100.100.200:80"}) {
    EXPECT_EQ(word(ask(made, address)), "floor");
  }
  EXPECT_EQ(ask_name(made, "metadata.google.internal"), "nodata denied-by-rule");
  EXPECT_EQ(ask_name(made, "example.com"), "ask");
  EXPECT_NE(presets_json().find("\"CLOUD_METADATA_DENY\":[\"169.254.0.0/16\""), std::string::npos);
}

TEST(Cases, HoldOrSayWhy) {
  const Policy made = policy(flags("", {"example.com", "93.184.0.0/16:22"}, {"bad.example"}));
  const auto cases = parse_cases(R"(# what this policy means
allow  example.com:443
refuse evil.example:443                                no-rule
refuse bad.example:443                                 denied-by-rule   # by name
refuse 10.0.0.5:443                                    no-rule
refuse 169.254.169.254:80                              floor
allow  93.184.215.14:22
allow  93.184.215.14:443 as example.com sni example.com
refuse 93.184.215.14:443 as example.com sni evil.example   sni-mismatch
refuse 93.184.215.14:443 as example.com sni -   sni-missing
refuse 93.184.215.14:80 as example.com host other.example  host-mismatch
refuse 93.184.215.14:443 as example.com opaque  not-tls
	allow	93.184.215.14:22	opaque
refuse evil.example
)",
                                 "cases.txt");
  ASSERT_TRUE(cases) << cases.error().what();
  EXPECT_EQ(cases->size(), 13u);
  EXPECT_EQ(failures_text(run_cases(*made.image, {}, *cases), "cases.txt"), "");

  const auto wrong =
      parse_cases("refuse example.com:443\nallow evil.example:443\nrefuse evil.example:443 floor\n", "c.txt");
  ASSERT_TRUE(wrong);
  const auto failures = run_cases(*made.image, {}, *wrong);
  ASSERT_EQ(failures.size(), 3u);
  const std::string text = failures_text(failures, "c.txt");
  EXPECT_NE(text.find("c.txt:1:1: refuse example.com:443: but it is allowed, by example.com (layer session)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("c.txt:2:1: allow evil.example:443: but it is refused (no-rule)"), std::string::npos) << text;
  EXPECT_TRUE(failures_json(failures).starts_with(R"([{"line":1,"case":"refuse example.com:443","got":{)"));
}

TEST(Cases, BadLinesNameTheirPlace) {
  const struct {
    const char* text;
    const char* place;
    const char* remedy;
  } rows[] = {
      {"deny example.com", "c.txt:1:1: ", "allow or refuse"},
      {"\n\nallow", "c.txt:3:1: ", ""},
      {"allow  127.1", "c.txt:1:8: ", ""},
      {"allow @pypi", "c.txt:1:7: ", ""},
      {"refuse example.com floo", "c.txt:1:20: ", "write floor"},
      {"allow example.com floor", "c.txt:1:19: ", ""},
      {"refuse example.com floor more", "c.txt:1:26: ", ""},
      {"refuse example.com as a.example", "c.txt:1:20: ", ""},
      {"refuse example.com sni a.example", "c.txt:1:8: ", ""},
      {"refuse 93.184.215.14 as", "c.txt:1:22: ", ""},
      {"refuse 93.184.215.14 as a..b", "c.txt:1:25: ", ""},
  };
  for (const auto& row : rows) {
    const auto cases = parse_cases(row.text, "c.txt");
    ASSERT_FALSE(cases) << row.text;
    EXPECT_TRUE(cases.error().what().starts_with(row.place)) << cases.error().what();
    EXPECT_NE(cases.error().remedy().find(row.remedy), std::string::npos) << cases.error().remedy();
  }
}

}  // namespace
}  // namespace weir::policy::testing
