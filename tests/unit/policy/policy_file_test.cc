#include "policy/text/policy_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "policy/text/keys.h"
#include "policy/text/nesting.h"
#include "policy/text/values.h"

namespace weir::policy {
namespace {

struct Row {
  std::string text;
  const char* place;  // "LINE:COLUMN"
  const char* says;
  const char* remedy;
};

const Row kBad[] = {
    {"", "1:1", "version of the format is missing", "version = 1"},
    {"mode = \"none\"", "1:1", "version of the format is missing", "version = 1"},
    {"version = 2", "1:11", "version 2", "version = 1"},
    {"version = \"1\"", "1:11", "'version' must be", "version = 1"},
    {"version = 1\nalow = []", "2:1", "unknown key 'alow'", "write allow"},
    {"version = 1\nmoode = \"none\"", "2:1", "unknown key 'moode'", "write mode"},
    {"version = 1\nsomething = 1", "2:1", "unknown key 'something'", ""},
    {"version = 1\nupstream = []", "2:1", "unknown key 'upstream'", "[dns]"},
    {"version = 1\n[limits]\nmax_flow = 1", "3:1", "unknown key 'max_flow' in [limits]", "write max_flows"},
    {"version = 1\n[dsn]\nupstream = []", "2:2", "unknown key 'dsn'", "write dns"},
    {"version = 1\nself_addresses = []", "2:1", "unknown key 'self_addresses'", ""},
    {"version = 1\nmode = \"none\"\nmode = \"open\"", "3:8", "redefine", ""},
    {"version = 1\nversion = 1", "2:11", "redefine", ""},
    {"version = 1\n[dns]\n[dns]", "3:1", "", ""},
    {"version = 1\nmode = \"publick\"", "2:9", "no network mode", "write public"},
    {"version = 1\nmode = 1", "2:8", "'mode' must be", ""},
    {"version = 1\nallow = \"a.example\"", "2:9", "must be a list of targets", "write allow = ["},
    {"version = 1\nallow = [\"a.example\", 5]", "2:23", "must be a list of targets", ""},
    {"version = 1\nallow = [[\"a.example\"]]", "2:10", "must be a list of targets", ""},
    {"version = 1\nallow = [\"a.example\", \"a..b\"]", "2:24", "empty label", ""},
    {"version = 1\nallow = [\"example.com:0\"]", "2:23", "not a port", ""},
    {"version = 1\ndeny = [\n  \"ok.example\",\n  \"https://x.example\",\n]", "4:4", "no URL", "x.example:443"},
    {"version = 1\ndeny = [\"@pypy\"]", "2:10", "neither a class nor a set", "@pypi"},
    {"version = 1\nallow = [\"\"]", "2:11", "missing", ""},
    {"version = 1\nallow = [\"a.example,b.example\"]", "2:11", "only letters", ""},
    {"version = 1\nrequire_name = \"yes\"", "2:16", "true or false", ""},
    {"version = 1\nrequire_name = 1", "2:16", "true or false", ""},
    {"version = 1\n[[rules]]\naction = \"alow\"\nto = []", "3:10", "\"allow\" or \"deny\"", ""},
    {"version = 1\n[[rules]]\nto = [\"a.example\"]", "2:1", "needs an action", ""},
    {"version = 1\n[[rules]]\naction = \"deny\"", "2:1", "needs targets", ""},
    {"version = 1\n[[rules]]\naction = \"deny\"\nto = [\"a.example\"]\nech = true", "2:1", "ech", ""},
    {"version = 1\n[rules]\naction = \"deny\"", "2:1", "list of tables", ""},
    {"version = 1\nrules = [1]", "2:10", "list of tables", ""},
    {"version = 1\n[dns]\nupstream = [\"dns.example\"]", "3:14", "not an IP address", "9.9.9.9"},
    {"version = 1\n[dns]\nupstream = [\"9.9.9.9:0\"]", "3:14", "not a port", ""},
    {"version = 1\n[dns]\ntypes = [\"ANY\"]", "3:11", "no record type", ""},
    {"version = 1\n[dns]\ntypes = [\"TTX\"]", "3:11", "no record type", "write TXT"},
    {"version = 1\n[dns]\ntypes = [\"TYPE255\"]", "3:11", "no record type", ""},
    {"version = 1\ndns = 1", "2:7", "must be a table", ""},
    {"version = 1\n[limits]\nmax_flows = \"many\"", "3:13", "a number of at least 1", ""},
    {"version = 1\n[limits]\nmax_flows = 0", "3:13", "a number of at least 1", ""},
    {"version = 1\n[limits]\nmax_flows = -1", "3:13", "a number of at least 1", ""},
    {"version = 1\n[limits]\nmax_flows = 1.5", "3:13", "a number of at least 1", ""},
    {"version = 1\n[limits]\negress_bytes = \"200XB\"", "3:17", "", ""},
    {"version = 1\n[limits]\negress_rate = \"fast\"", "3:16", "no rate", "100Mbit/s"},
    {"version = 1\n[limits]\negress_rate = 100", "3:15", "a rate", ""},
    {"version = 1\n[limits]\nidle_timeout = \"forever\"", "3:17", "", ""},
    {"version = 1\n[publish]\ntcp = [\"8080\"]", "3:9", "no published port", "8080:80"},
    {"version = 1\n[publish]\ntcp = [\"8080:0\"]", "3:9", "not a port", ""},
    {"version = 1\n[publish]\nudp = [\"::1:53:53\"]", "3:9", "", ""},
    {"version = 1\nallow = [", "2:10", "", ""},
    {"version = 1\n[\f\f]\nx = 1\n", "2:1", "no TOML", ""},
    {"version = 1\n\n[!]", "3:", "", ""},
    {"version = 1\n[dns]\nupstream = [\n]\n[[\v", "5:1", "no TOML", ""},
    {"version = 1\n\"unfinished", "2:12", "", ""},
    {"version = 1\nallow = [\"a\\u0000.example\"]", "2:12", "control", ""},
    {std::string("version = 1\n\0", 13), "2:1", "", ""},
    {"version = 1\nmode = \"\xff\"", "2:8", "", ""},
};

TEST(PolicyFile, ErrorsNameTheirPlace) {
  for (const Row& row : kBad) {
    const auto parsed = parse_policy(row.text, "p.toml");
    ASSERT_FALSE(parsed) << row.text;
    const std::string place = std::string("p.toml:") + row.place;
    EXPECT_TRUE(parsed.error().what().starts_with(place)) << row.text << "\n" << parsed.error().what();
    EXPECT_NE(parsed.error().what().find(row.says), std::string::npos) << row.text << "\n" << parsed.error().what();
    EXPECT_NE(parsed.error().remedy().find(row.remedy), std::string::npos) << row.text << "\n"
                                                                           << parsed.error().remedy();
  }
}

TEST(PolicyFile, TheFloorFileHasItsOwnKeys) {
  const auto floor = parse_policy(
      "version = 1\nself_addresses = [\"203.0.113.7\"]\nnat64_prefixes = [\"64:ff9b::/96\"]\ndeny = [\"a.example\"]",
      "floor.toml", FileKind::floor);
  ASSERT_TRUE(floor) << floor.error().what();
  EXPECT_EQ(floor->self_addresses.size(), 1u);
  EXPECT_EQ(floor->nat64_prefixes.size(), 1u);
  for (const char* wrong : {"[limits]\nmax_flows = 1", "[dns]\n", "[publish]\n", "nat64_prefixes = [\"10.0.0.0/8\"]",
                            "nat64_prefixes = [\"2001:db8::/33\"]", "self_addresses = [\"10.0.0.0/8\"]"}) {
    EXPECT_FALSE(parse_policy(std::string("version = 1\n") + wrong, "floor.toml", FileKind::floor)) << wrong;
  }
}

TEST(PolicyFile, TheExampleOfTheDesignParses) {
  const auto parsed = parse_policy(R"(
version = 1
mode    = "allowlist"
allow   = ["@pypi", "api.example.com:443", "udp://192.0.2.53:5353", "10.1.2.0/24:5432"]
deny    = ["*.tracking.example"]
require_name = false

[[rules]]
action = "deny"
to     = ["uploads.example.com"]

[dns]
upstream = ["9.9.9.9"]
types    = ["MX"]

[limits]
egress_bytes = "200MB"

[publish]
tcp = ["8080:80"]
)",
                                   "p.toml");
  ASSERT_TRUE(parsed) << parsed.error().what();
  EXPECT_EQ(parsed->allow->size(), 4u);
  EXPECT_EQ(parsed->allow->at(1).at.line, 4u);
  EXPECT_EQ(parsed->rules.size(), 1u);
  EXPECT_EQ(parsed->publishes.size(), 1u);
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

// The library frees nested tables by recursion: each of these once ended on an overflown stack, or could.
TEST(PolicyFile, DeepNestingIsRefusedUnparsed) {
  constexpr std::size_t kMany = 200'000;
  const Row rows[] = {
      {"version=1\n" + repeated("a.", kMany) + "a=1", "2:130", "more than 64 dots", ""},
      {"version=1\n[" + repeated("a.", kMany) + "a]", "2:131", "more than 64 dots", ""},
      {"version=1\n[[" + repeated("a.", kMany) + "a]]", "2:132", "more than 64 dots", ""},
      {"version=1\n" + repeated("a . ", kMany) + "a=1", "2:259", "more than 64 dots", ""},
      {"version=1\n" + repeated("\"a=\\\"\".", kMany) + "a=1", "2:455", "more than 64 dots", ""},
      {"version=1\nx={" + repeated("a.", kMany) + "a=1}", "2:133", "more than 64 dots", ""},
      {"version=1\nx=1.5 # it's\ny=[\"\"\"\n'\"\"\"\"\", 1]\n" + repeated("ä.", kMany), "5:130", "more than 64 dots",
       ""},
      {"version=1\nx=" + repeated("[", kMany), "2:", "nested", ""},
      {"version=1\n" + repeated("[", kMany), "2:", "", ""},
      {"version=1\nx=" + repeated("{a=", kMany), "2:", "nested", ""},
      {"version=1\nx=" + repeated("[{" + repeated("a.", kMaxKeyDots) + "a=", kMany / 64), "2:", "nested", ""},
  };
  for (const Row& row : rows) {
    const auto parsed = parse_policy(row.text, "p.toml");
    const std::string start = row.text.substr(0, 60);
    ASSERT_FALSE(parsed) << start;
    EXPECT_TRUE(parsed.error().what().starts_with(std::string("p.toml:") + row.place))
        << start << "\n"
        << parsed.error().what().substr(0, 200);
    EXPECT_NE(parsed.error().what().find(row.says), std::string::npos) << start << "\n"
                                                                       << parsed.error().what().substr(0, 200);
  }
}

TEST(PolicyFile, DotsInStringsAndCommentsAreNoNesting) {
  const std::string dots = repeated("a.", 100);
  EXPECT_FALSE(excess_dot("x = \"" + dots + "\" # " + dots + "\ny = '''\n" + dots + "'''\n"));
  EXPECT_FALSE(excess_dot(repeated("a.b = 1.5\n", 100)));
  EXPECT_FALSE(excess_dot("x = [" + repeated("1.5, ", 100) + "]"));
  EXPECT_FALSE(excess_dot(repeated("a.", kMaxKeyDots)));
  EXPECT_TRUE(excess_dot(repeated("a.", kMaxKeyDots + 1)));
}

TEST(PolicyFile, TooLargeIsRefusedUnparsed) {
  EXPECT_FALSE(parse_policy(std::string(kMaxPolicyText + 1, ' '), "p.toml"));
}

std::string published(const char* path) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// docs/policy.md and docs/policy.schema.json are what the table of keys says. After a change of the table, write what
// this test expects into the files.
TEST(PolicyFile, PublishedReferenceAndSchemaAreCurrent) {
  EXPECT_EQ(published("docs/policy.md"), policy_reference_markdown());
  EXPECT_EQ(published("docs/policy.schema.json"), policy_schema_json());
}

TEST(PolicyFile, EveryExampleOfTheTableParses) {
  for (const KeySpec& key : policy_keys()) {
    if (key.example.empty()) continue;
    std::string text = key.id == KeyId::version ? "" : "version = 1\n";
    if (key.table == "rules") {
      text += "[[rules]]\n";
      if (key.id != KeyId::rule_action) text += "action = \"allow\"\n";
      if (key.id != KeyId::rule_to) text += "to = []\n";
    } else if (!key.table.empty()) {
      text += "[" + std::string(key.table) + "]\n";
    }
    text += std::string(key.name) + " = " + std::string(key.example) + "\n";
    const auto kind = key.place == KeyPlace::floor ? FileKind::floor : FileKind::policy;
    const auto parsed = parse_policy(text, "p.toml", kind);
    EXPECT_TRUE(parsed) << text << (parsed ? "" : parsed.error().what());
  }
}

TEST(Values, RoundTrip) {
  for (const char* text : {"9.9.9.9:53", "tls://9.9.9.9:853", "[2620:fe::fe]:53"}) {
    EXPECT_EQ(upstream_text(*parse_upstream(text)), text);
  }
  EXPECT_EQ(upstream_text(*parse_upstream("2620:fe::fe")), "[2620:fe::fe]:53");
  for (const char* text : {"", "tls://", "[::1", "[::1]x", "1.1.1.1:", "1.1.1.1:1:1", "tls://dns.example"}) {
    EXPECT_FALSE(parse_upstream(text)) << text;
  }
  EXPECT_EQ(dns_type_text(*parse_dns_type("mx")), "MX");
  EXPECT_EQ(dns_type_text(*parse_dns_type("TYPE64")), "SVCB");
  EXPECT_EQ(dns_type_text(*parse_dns_type("type1234")), "TYPE1234");
  for (const char* text : {"", "TYPE", "TYPE0", "TYPE41", "TYPE128", "TYPE255", "TYPE70000", "TYPE-1", "AXFR"}) {
    EXPECT_FALSE(parse_dns_type(text)) << text;
  }
  EXPECT_EQ(*parse_rate_bits("9600bit/s"), 9600u);
  EXPECT_EQ(*parse_rate_bits("2Gbit"), 2'000'000'000u);
  for (const char* text : {"", "bit/s", "0Mbit/s", "-1Mbit/s", "1.5Mbit/s", "99999999999999999999bit", "10MB/s"}) {
    EXPECT_FALSE(parse_rate_bits(text)) << text;
  }
  EXPECT_EQ(publish_text(*parse_publish("8080:80", net::Protocol::tcp)), "127.0.0.1:8080:80/tcp");
  EXPECT_EQ(publish_text(*parse_publish("[::]:0:53", net::Protocol::udp)), "[::]:0:53/udp");
  for (const auto& [flag, text] : {std::pair{"8080:80", "127.0.0.1:8080:80/tcp"},
                                   {"8080:80/tcp", "127.0.0.1:8080:80/tcp"},
                                   {"[::1]:0:53/udp", "[::1]:0:53/udp"},
                                   {"0.0.0.0:80:80", "0.0.0.0:80:80/tcp"}})
    EXPECT_EQ(publish_text(*parse_publish_flag(flag)), text);
  for (const char* flag : {"", "/", "80", "80/tcp", "8080:80/", "8080:80/TCP", "8080:80/icmp", "8080:0", "65536:80",
                           "::1:80:80", "[127.0.0.1]:80:80", "localhost:80:80", "-1:80", "8080:80/tcp/udp"})
    EXPECT_FALSE(parse_publish_flag(flag)) << flag;
  for (const char* text : {"", "80", ":80", "80:", "a:80", "[::1:8080:80", "1.2.3:8080:80", ":8080:80"}) {
    EXPECT_FALSE(parse_publish(text, net::Protocol::tcp)) << text;
  }
}

}  // namespace
}  // namespace weir::policy
