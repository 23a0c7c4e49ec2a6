// admit(), judge_name() and judge_answer() over tables: a policy, a question, the word of the answer.
#include <map>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

// Policies by name, compiled once.
const Policy& named_policy(const std::string& key) {
  static const auto* const inputs = new std::map<std::string, CompileInput>{
      {"nothing", flags("allowlist", {})},
      {"empty-list", file("allow = []")},
      {"none", flags("none", {})},
      {"inbound", flags("inbound", {})},
      {"a", flags("", {"a.example"})},
      {"a:443", flags("", {"a.example:443"})},
      {"below-a", flags("", {"*.a.example"})},
      {"dot-a", flags("", {".a.example"})},
      {"udp-a", flags("", {"udp://a.example:53,123"})},
      {"cidr", flags("", {"93.184.0.0/16"})},
      {"cidr:443", flags("", {"93.184.0.0/16:443,8000-8999"})},
      {"one", flags("", {"93.184.215.14"})},
      {"everything4:443", flags("", {"0.0.0.0/0:443"})},
      {"everything6", flags("", {"::/0"})},
      {"allow-public", flags("", {"@public"})},
      {"allow-any", flags("", {"@any"})},
      {"allow-private", flags("", {"@private"})},
      {"allow-lan", flags("", {"@lan"})},
      {"allow-host", flags("", {"@host"})},
      {"allow-loopback", flags("", {"@loopback"})},
      {"allow-link-local", flags("", {"@link-local"})},
      {"allow-special", flags("", {"@special"})},
      {"exact-private", flags("", {"10.1.2.3:5432"})},
      {"exact-loopback", flags("", {"127.0.0.1:8080"})},
      {"exact-metadata", flags("", {"169.254.169.254"})},
      {"lifted-metadata", flags("", {"169.254.169.254"}, {}, {"floor=169.254.169.254"})},
      {"lifted-only", flags("", {"a.example"}, {}, {"floor=169.254.169.254"})},
      {"cidr-private", flags("", {"10.1.0.0/16"})},
      {"cidr-link-local", flags("", {"169.254.0.0/16"})},
      {"cidr-too-wide", flags("", {"10.0.0.0/7"})},
      {"cidr-lan6", flags("", {"2001:470:1:2::/64"})},
      {"exact-lan6", flags("", {"2001:470:1:2::7"})},
      {"icmp", flags("", {"icmp://93.184.215.14"})},
      {"public", flags("public", {})},
      {"public-deny-cidr", flags("public", {}, {"93.184.0.0/16"})},
      {"public-deny-class", flags("open", {}, {"@private"})},
      {"public-deny-any", flags("public", {}, {"@any"})},
      {"public-deny-name", flags("public", {}, {"evil.example"})},
      {"public-deny-below", flags("public", {}, {".evil.example"})},
      {"public-allow-private", flags("public", {"10.1.2.3"})},
      {"semitrusted", flags("semitrusted", {})},
      {"semitrusted-ssh", flags("semitrusted", {"93.184.215.14:22"})},
      {"open", flags("open", {})},
      {"open-deny", flags("open", {}, {"evil.example", "10.0.0.0/8"})},
      {"open-lifted", flags("open", {}, {}, {"floor=169.254.169.254"})},
      {"quic-ok", flags("public", {"udp://a.example:443"}, {"evil.example"})},
      {"quic-address", flags("public", {"udp://93.184.215.14:443"}, {"evil.example"})},
      {"host-service", flags("", {"host.weir.internal:8080"})},
      {"broad-com", flags("", {"*.com"}, {}, {"broad=*.com"})},
      {"broad-all", flags("", {"*"}, {}, {"broad=*"})},
      {"broad-internal", flags("", {"*.internal"}, {}, {"broad=*.internal"})},
      {"corp", flags("", {"*.corp.internal", "10.1.2.0/24", "wiki", "*.10.in-addr.arpa"})},
      {"printer", flags("", {"printer.local", "64.100.in-addr.arpa"})},
      {"mx", file("allow = [\"a.example\"]\n[dns]\ntypes = [\"MX\"]")},
      {"semi-txt", file("mode = \"semitrusted\"\n[dns]\ntypes = [\"TXT\"]")},
      {"require", file("allow = [\"93.184.0.0/16\", \"a.example\"]\nrequire_name = true")},
      {"allow-denied-below", flags("", {"*.a.example"}, {".x.a.example", "y.a.example"})},
      {"rule-order", file(R"(
mode = "allowlist"
deny = ["93.184.1.0/24"]
allow = ["93.184.0.0/16"]
[[rules]]
action = "allow"
to = ["93.184.2.1"]
[[rules]]
action = "deny"
to = ["93.184.2.0/24", "93.184.3.0/24:22"]
)")},
      {"rules-open-then-close", file(R"(
mode = "allowlist"
[[rules]]
action = "allow"
to = ["db.example", "10.1.2.3"]
[[rules]]
action = "deny"
to = ["10.0.0.0/8"]
)")},
      {"rules-close-then-open", file(R"(
mode = "allowlist"
[[rules]]
action = "allow"
to = ["db.example"]
[[rules]]
action = "deny"
to = ["10.0.0.0/8"]
[[rules]]
action = "allow"
to = ["10.1.2.3"]
)")},
      {"floor-denies",
       with_floor(flags("", {"a.example", "93.184.0.0/16"}), "deny = [\"93.184.215.0/24\", \"b.example\"]")},
      {"floor-name-deny", with_floor(flags("public", {}), "deny = [\"b.example\"]")},
      {"floor-allowlist", with_floor(flags("public", {}), "allow = [\"93.184.0.0/16\"]")},
      {"floor-names", with_floor(flags("public", {}), "allow = [\"*.a.example\"]")},
      {"floor-broad", with_floor(flags("public", {}), "allow = [\"*.com\"]")},
      {"floor-all", with_floor(flags("", {"db.corp.internal"}), "allow = [\"*\"]")},
      {"floor-public", with_floor(flags("open", {}), "mode = \"public\"")},
      {"floor-nat64", with_floor(flags("public", {}), "nat64_prefixes = [\"64:ff9b::/96\", \"2001:db8:64::/96\"]")},
      {"floor-nat64-allow",
       with_floor(flags("", {"64:ff9b::/96", "93.184.215.14", "10.0.0.5"}), "nat64_prefixes = [\"64:ff9b::/96\"]")},
      {"floor-self", with_floor(flags("public", {}), "self_addresses = [\"93.184.215.14\"]")},
      {"run-narrower", with_run(flags("", {"a.example", "b.example"}), "", {"a.example"})},
      {"run-deny", with_run(flags("public", {}), "public", {}, {"93.184.0.0/16"})},
      {"run-in-open", with_run(flags("open", {}), "", {"93.184.0.0/16", "10.1.2.3"})},
      {"run-none", with_run(flags("open", {}), "none", {})},
  };
  static auto* const compiled = new std::map<std::string, Policy>;
  const auto found = inputs->find(key);
  EXPECT_NE(found, inputs->end()) << key;
  return compiled->try_emplace(key, policy(found->second)).first->second;
}

struct AdmitRow {
  const char* policy;
  const char* destination;
  std::vector<std::string> names;
  const char* expected;
};

const AdmitRow kAdmit[] = {
    // Nothing allows nothing.
    {"nothing", "93.184.215.14:443", {}, "no-rule"},
    {"nothing", "93.184.215.14:443", {"a.example"}, "no-rule"},
    {"empty-list", "93.184.215.14:443", {}, "no-rule"},
    {"none", "93.184.215.14:443", {}, "no-rule"},
    {"inbound", "93.184.215.14:443", {}, "no-rule"},
    {"none", "127.0.0.1:80", {}, "no-rule"},
    // Names.
    {"a", "93.184.215.14:443", {"a.example"}, "hold"},
    {"a", "93.184.215.14:22", {"a.example"}, "hold"},
    {"a", "93.184.215.14:443", {}, "no-rule"},
    {"a", "93.184.215.14:443", {"b.example"}, "no-rule"},
    {"a", "93.184.215.14:443", {"x.a.example"}, "no-rule"},
    {"a", "93.184.215.14:443", {"xa.example"}, "no-rule"},
    {"a", "93.184.215.14:443", {"a.example.evil.test"}, "no-rule"},
    {"a", "93.184.215.14:443", {"b.example", "a.example"}, "hold"},
    {"a", "udp://93.184.215.14:443", {"a.example"}, "no-rule"},
    {"a", "icmp://93.184.215.14", {"a.example"}, "no-rule"},
    {"a", "93.184.215.14:443", {"b.example<a.example"}, "no-rule"},  // allow looks at the asked name only
    {"a:443", "93.184.215.14:443", {"a.example"}, "hold"},
    {"a:443", "93.184.215.14:80", {"a.example"}, "no-rule"},
    {"below-a", "93.184.215.14:443", {"x.a.example"}, "hold"},
    {"below-a", "93.184.215.14:443", {"x.y.z.a.example"}, "hold"},
    {"below-a", "93.184.215.14:443", {"a.example"}, "no-rule"},
    {"below-a", "93.184.215.14:443", {"xa.example"}, "no-rule"},
    {"dot-a", "93.184.215.14:443", {"a.example"}, "hold"},
    {"dot-a", "93.184.215.14:443", {"x.a.example"}, "hold"},
    {"dot-a", "93.184.215.14:443", {"example"}, "no-rule"},
    {"udp-a", "udp://93.184.215.14:123", {"a.example"}, "allow"},
    {"udp-a", "udp://93.184.215.14:124", {"a.example"}, "no-rule"},
    {"udp-a", "93.184.215.14:123", {"a.example"}, "no-rule"},
    {"broad-com", "93.184.215.14:443", {"x.com"}, "hold"},
    {"broad-com", "93.184.215.14:443", {"com"}, "no-rule"},
    {"broad-all", "93.184.215.14:443", {"anything.test"}, "hold"},
    {"broad-all", "93.184.215.14:443", {}, "no-rule"},
    // Addresses.
    {"cidr", "93.184.215.14:443", {}, "allow"},
    {"cidr", "udp://93.184.215.14:53", {}, "allow"},
    {"cidr", "icmp://93.184.215.14", {}, "allow"},
    {"cidr", "93.185.0.0:443", {}, "no-rule"},
    {"cidr", "93.183.255.255:443", {}, "no-rule"},
    {"cidr", "93.184.0.0:1", {}, "allow"},
    {"cidr", "93.184.255.255:65535", {}, "allow"},
    {"cidr", "93.184.215.14:443", {"b.example"}, "allow"},  // an address target matches every candidate
    {"cidr:443", "93.184.215.14:443", {}, "allow"},
    {"cidr:443", "93.184.215.14:7999", {}, "no-rule"},
    {"cidr:443", "93.184.215.14:8000", {}, "allow"},
    {"cidr:443", "93.184.215.14:8999", {}, "allow"},
    {"cidr:443", "93.184.215.14:9000", {}, "no-rule"},
    {"cidr:443", "icmp://93.184.215.14", {}, "no-rule"},  // ICMP has no ports
    {"one", "93.184.215.14:443", {}, "allow"},
    {"one", "93.184.215.15:443", {}, "no-rule"},
    {"icmp", "icmp://93.184.215.14", {}, "allow"},
    {"icmp", "93.184.215.14:80", {}, "no-rule"},
    {"everything4:443", "93.184.215.14:443", {}, "allow"},
    {"everything4:443", "2606:4700::1", {}, "protocol"},  // port 0 is none
    {"everything4:443", "[2606:4700::1]:443", {}, "no-rule"},
    {"everything4:443", "169.254.169.254:443", {}, "floor"},
    {"everything4:443", "127.0.0.1:443", {}, "floor"},
    {"everything6", "[2606:4700::1]:443", {}, "allow"},
    {"everything6", "[fd00::1]:443", {}, "floor"},
    {"everything6", "93.184.215.14:443", {}, "no-rule"},  // ::/0 does not swallow IPv4
    {"everything6", "[64:ff9b::5db8:d70e]:443", {}, "floor"},
    {"everything6", "[2002:5db8:d70e::1]:443", {}, "floor"},
    // Classes.
    {"allow-public", "93.184.215.14:443", {}, "allow"},
    {"allow-public", "10.0.0.5:443", {}, "no-rule"},
    {"allow-any", "93.184.215.14:443", {}, "allow"},
    {"allow-any", "10.0.0.5:443", {}, "no-rule"},
    {"allow-any", "169.254.169.254:80", {}, "floor"},
    {"allow-private", "10.0.0.5:443", {}, "allow"},
    {"allow-private", "100.64.0.1:443", {}, "allow"},
    {"allow-private", "100.100.100.200:80", {}, "floor"},
    {"allow-private", "[fd00::1]:443", {}, "allow"},
    {"allow-private", "[fd00:ec2::254]:80", {}, "floor"},
    {"allow-private", "93.184.215.14:443", {}, "no-rule"},
    {"allow-private", "127.0.0.1:443", {}, "no-rule"},
    {"allow-loopback", "127.0.0.1:443", {}, "allow"},
    {"allow-loopback", "[::1]:443", {}, "allow"},
    {"allow-link-local", "169.254.1.1:443", {}, "allow"},
    {"allow-link-local", "169.254.169.254:80", {}, "floor"},
    {"allow-special", "198.18.0.1:443", {}, "allow"},
    {"allow-special", "0.0.0.0:443", {}, "floor"},
    {"allow-special", "255.255.255.255:443", {}, "floor"},
    {"allow-special", "[64:ff9b::808:808]:443", {}, "floor"},
    {"public-deny-class", "10.0.0.5:443", {}, "denied-by-rule"},
    {"public-deny-class", "93.184.215.14:443", {}, "allow"},
    {"public-deny-any", "93.184.215.14:443", {}, "denied-by-rule"},
    // The soft floor.
    {"exact-private", "10.1.2.3:5432", {}, "allow"},
    {"exact-private", "10.1.2.3:22", {}, "no-rule"},
    {"exact-private", "10.1.2.4:5432", {}, "no-rule"},
    {"exact-loopback", "127.0.0.1:8080", {}, "allow"},
    {"exact-loopback", "127.0.0.2:8080", {}, "no-rule"},
    {"cidr-private", "10.1.2.3:22", {}, "allow"},
    {"cidr-private", "10.2.0.1:22", {}, "no-rule"},
    {"cidr-link-local", "169.254.1.1:22", {}, "allow"},
    {"cidr-link-local", "169.254.169.254:80", {}, "floor"},
    {"cidr-too-wide", "10.1.2.3:22", {}, "floor"},
    {"cidr-too-wide", "11.1.2.3:22", {}, "allow"},
    {"a", "10.0.0.5:443", {"a.example"}, "rebind"},
    {"a", "127.0.0.1:443", {"a.example"}, "rebind"},
    {"a", "[::1]:443", {"a.example"}, "rebind"},
    {"a", "[fd00::1]:443", {"a.example"}, "rebind"},
    {"a", "169.254.169.254:80", {"a.example"}, "floor"},
    {"broad-all", "10.0.0.5:443", {"x.test"}, "rebind"},
    // The hard floor.
    {"exact-metadata", "169.254.169.254:80", {}, "floor"},
    {"lifted-metadata", "169.254.169.254:80", {}, "allow"},
    {"lifted-metadata", "169.254.170.2:80", {}, "floor"},
    {"lifted-only", "169.254.169.254:80", {}, "no-rule"},
    {"lifted-only", "169.254.169.254:80", {"a.example"}, "rebind"},
    {"open", "169.254.169.254:80", {}, "floor"},
    {"open", "[fd00:ec2::254]:80", {}, "floor"},
    {"open", "168.63.129.16:80", {}, "floor"},
    {"open", "224.0.0.251:5353", {}, "floor"},
    {"open", "[ff02::fb]:5353", {}, "floor"},
    {"open", "255.255.255.255:67", {}, "floor"},
    {"open", "0.0.0.0:80", {}, "floor"},
    {"open", "240.0.0.1:80", {}, "floor"},
    {"open", "[::]:80", {}, "floor"},
    {"open", "[64:ff9b::a9fe:a9fe]:80", {}, "floor"},
    {"open-lifted", "169.254.169.254:80", {}, "allow"},
    // Modes.
    {"public", "93.184.215.14:22", {}, "allow"},
    {"public", "udp://93.184.215.14:443", {}, "allow"},
    {"public", "icmp://93.184.215.14", {}, "allow"},
    {"public", "10.0.0.5:443", {}, "floor"},
    {"public", "10.0.0.5:443", {"a.example"}, "floor"},
    {"public", "127.0.0.1:80", {}, "floor"},
    {"public", "192.0.2.1:80", {}, "floor"},
    {"public", "[2606:4700::1]:443", {}, "allow"},
    {"public", "[2001:db8::1]:443", {}, "floor"},
    {"public", "93.184.215.14:443", {"a.example"}, "allow"},
    {"public-deny-cidr", "93.184.215.14:443", {}, "denied-by-rule"},
    {"public-deny-cidr", "93.185.0.1:443", {}, "allow"},
    {"public-deny-name", "93.184.215.14:443", {"evil.example"}, "denied-by-rule"},
    {"public-deny-name", "93.184.215.14:22", {"evil.example", "good.example"}, "hold"},
    {"public-deny-name", "93.184.215.14:443", {"shop.example<evil.example"}, "denied-by-rule"},
    {"public-deny-name", "udp://93.184.215.14:5000", {"evil.example"}, "denied-by-rule"},
    {"public-deny-name", "icmp://93.184.215.14", {"evil.example"}, "denied-by-rule"},
    {"public-allow-private", "10.1.2.3:22", {}, "allow"},
    {"public-allow-private", "10.1.2.4:22", {}, "floor"},
    {"semitrusted", "93.184.215.14:443", {}, "allow"},
    {"semitrusted", "93.184.215.14:80", {}, "allow"},
    {"semitrusted", "93.184.215.14:22", {}, "no-rule"},
    {"semitrusted", "udp://93.184.215.14:443", {}, "no-rule"},
    {"semitrusted", "icmp://93.184.215.14", {}, "no-rule"},
    {"semitrusted", "10.0.0.5:443", {}, "floor"},
    {"semitrusted-ssh", "93.184.215.14:22", {}, "allow"},
    {"open", "10.0.0.5:443", {}, "allow"},
    {"open", "127.0.0.1:8080", {"host.weir.internal"}, "allow"},
    {"open", "93.184.215.14:443", {}, "allow"},
    {"open-deny", "10.0.0.5:443", {}, "denied-by-rule"},
    {"open-deny", "192.168.0.5:443", {}, "hold"},
    // UDP 443 hides the name.
    {"public-deny-name", "udp://93.184.215.14:443", {}, "protocol"},
    {"public-deny-name", "udp://93.184.215.14:443", {"good.example"}, "protocol"},
    {"public-deny-name", "udp://93.184.215.14:444", {}, "allow"},
    {"quic-ok", "udp://93.184.215.14:443", {"a.example"}, "allow"},
    {"quic-ok", "udp://93.184.215.14:443", {"b.example"}, "protocol"},
    {"quic-address", "udp://93.184.215.14:443", {}, "allow"},
    {"floor-name-deny", "udp://93.184.215.14:443", {}, "protocol"},
    // Order inside a layer.
    {"rule-order", "93.184.1.1:80", {}, "denied-by-rule"},
    {"rule-order", "93.184.2.1:80", {}, "allow"},
    {"rule-order", "93.184.2.2:80", {}, "denied-by-rule"},
    {"rule-order", "93.184.3.1:22", {}, "denied-by-rule"},
    {"rule-order", "93.184.3.1:80", {}, "allow"},
    {"rule-order", "93.185.3.1:80", {}, "no-rule"},
    {"rules-open-then-close", "10.1.2.3:5432", {"db.example"}, "allow"},
    {"rules-open-then-close", "10.1.2.4:5432", {"db.example"}, "rebind"},
    {"rules-close-then-open", "10.1.2.3:5432", {"db.example"}, "rebind"},
    {"rules-close-then-open", "10.1.2.3:5432", {}, "denied-by-rule"},
    {"require", "93.184.215.14:443", {}, "no-name"},
    {"require", "93.184.215.14:443", {"b.example"}, "hold"},
    {"require", "93.185.0.1:443", {"a.example"}, "hold"},
    {"require", "93.185.0.1:443", {}, "no-rule"},
    // Layers.
    {"floor-denies", "93.184.215.14:443", {"a.example"}, "denied-by-rule"},
    {"floor-denies", "93.184.216.14:443", {}, "hold"},
    {"floor-denies", "93.184.216.14:443", {"b.example"}, "denied-by-rule"},
    {"floor-allowlist", "93.184.215.14:443", {}, "allow"},
    {"floor-allowlist", "93.185.0.1:443", {}, "no-rule"},
    {"floor-public", "10.0.0.5:443", {}, "floor"},
    {"floor-public", "93.184.215.14:443", {}, "allow"},
    {"floor-self", "93.184.215.14:443", {}, "floor"},
    {"floor-self", "93.184.215.15:443", {}, "allow"},
    {"run-narrower", "93.184.215.14:443", {"a.example"}, "hold"},
    {"run-narrower", "93.184.215.14:443", {"b.example"}, "no-rule"},
    {"run-deny", "93.184.215.14:443", {}, "denied-by-rule"},
    {"run-deny", "93.185.0.1:443", {}, "allow"},
    {"run-in-open", "93.184.215.14:443", {}, "allow"},
    {"run-in-open", "10.1.2.3:22", {}, "allow"},
    {"run-in-open", "10.1.2.4:22", {}, "no-rule"},
    {"run-none", "93.184.215.14:443", {}, "no-rule"},
    // NAT64: both forms must pass.
    {"floor-nat64", "[64:ff9b::5db8:d70e]:443", {}, "allow"},
    {"floor-nat64", "[64:ff9b::a00:5]:443", {}, "floor"},
    {"floor-nat64", "[64:ff9b::a9fe:a9fe]:80", {}, "floor"},
    {"floor-nat64", "[64:ff9b::7f00:1]:80", {}, "floor"},
    {"floor-nat64", "[2001:db8:64::5db8:d70e]:443", {}, "allow"},
    {"floor-nat64", "[2001:db8:64::a00:5]:443", {}, "floor"},
    {"floor-nat64", "[2001:db8:65::5db8:d70e]:443", {}, "floor"},
    {"floor-nat64", "[64:ff9b:1::5db8:d70e]:443", {}, "floor"},
    {"floor-nat64-allow", "[64:ff9b::5db8:d70e]:443", {}, "allow"},
    {"floor-nat64-allow", "[64:ff9b::5db8:d70f]:443", {}, "no-rule"},
    {"floor-nat64-allow", "[64:ff9b::a00:5]:443", {}, "allow"},
    // weir's own names lead to the host's loopback and nowhere else.
    {"host-service", "127.0.0.1:8080", {"host.weir.internal"}, "hold"},
    {"host-service", "[::1]:8080", {"host.weir.internal"}, "hold"},
    {"host-service", "127.0.0.1:8081", {"host.weir.internal"}, "no-rule"},
    {"host-service", "127.0.0.1:8080", {}, "no-rule"},
    {"host-service", "93.184.215.14:8080", {"host.weir.internal"}, "no-rule"},
    {"host-service", "10.0.0.5:8080", {"host.weir.internal"}, "no-rule"},
    {"broad-all", "127.0.0.1:80", {"host.weir.internal"}, "rebind"},
    {"broad-internal", "127.0.0.1:80", {"host.weir.internal"}, "rebind"},
};

TEST(Admit, Table) {
  for (const AdmitRow& row : kAdmit) {
    EXPECT_EQ(word(ask(named_policy(row.policy), row.destination, row.names)), row.expected)
        << row.policy << " " << row.destination << " " << (row.names.empty() ? "" : row.names[0]);
  }
}

struct FactsRow {
  const char* policy;
  const char* destination;
  std::vector<std::string> names;
  const char* expected;
};

HostFacts machine() {
  HostFacts facts = lan({"10.0.0.0/24", "2001:470:1:2::/64", "93.184.100.0/24"});
  facts.host = {ip("127.0.0.1"), ip("::1"), ip("10.0.0.2"), ip("2001:470:1:2::2"), ip("93.184.101.1")};
  facts.sandboxes = {*net::Cidr::parse("10.254.0.0/16"), *net::Cidr::parse("fd77::/48")};
  facts.own_listeners = {{ip("0.0.0.0"), 9000}, {ip("127.0.0.1"), 9001}, {ip("::"), 9002}};
  return facts;
}

const FactsRow kWithFacts[] = {
    {"public", "93.184.100.7:80", {}, "floor"},
    {"public", "93.184.101.1:80", {}, "floor"},
    {"public", "93.184.102.1:80", {}, "allow"},
    {"public", "[2001:470:1:2::7]:80", {}, "floor"},
    {"public", "[2001:470:1:3::7]:80", {}, "allow"},
    {"cidr", "93.184.100.7:80", {}, "floor"},  // inside the CIDR, but a neighbour
    {"allow-lan", "93.184.100.7:80", {}, "allow"},
    {"allow-lan", "10.0.0.7:80", {}, "allow"},
    {"allow-lan", "10.0.1.7:80", {}, "no-rule"},
    {"allow-lan", "10.0.0.2:80", {}, "floor"},  // the machine itself is more than a neighbour
    {"allow-lan", "10.0.0.255:80", {}, "floor"},
    {"allow-private", "10.0.0.7:80", {}, "allow"},
    {"allow-private", "10.0.0.2:80", {}, "floor"},
    {"allow-private", "10.254.0.9:80", {}, "floor"},
    {"allow-host", "10.0.0.2:80", {}, "allow"},
    {"allow-host", "127.0.0.1:80", {}, "allow"},
    {"allow-host", "93.184.101.1:80", {}, "allow"},
    {"allow-host", "10.0.0.7:80", {}, "no-rule"},
    {"allow-host", "10.0.0.2:9000", {}, "floor"},
    {"allow-host", "127.0.0.1:9001", {}, "floor"},
    {"allow-host", "10.0.0.2:9001", {}, "allow"},
    {"allow-host", "[::1]:9002", {}, "floor"},
    {"allow-loopback", "127.0.0.1:80", {}, "allow"},
    {"allow-loopback", "127.0.0.1:9000", {}, "floor"},
    {"cidr-lan6", "[2001:470:1:2::7]:80", {}, "allow"},
    {"cidr-lan6", "[2001:470:1:2::2]:80", {}, "floor"},
    {"exact-lan6", "[2001:470:1:2::7]:80", {}, "allow"},
    {"exact-lan6", "[2001:470:1:2::8]:80", {}, "no-rule"},
    {"open", "10.0.0.2:80", {}, "allow"},
    {"open", "10.0.0.7:80", {}, "allow"},
    {"open", "10.254.0.9:80", {}, "floor"},
    {"open", "[fd77::9]:80", {}, "floor"},
    {"open", "127.0.0.1:9001", {}, "floor"},
    {"open", "10.0.0.2:9000", {}, "floor"},
    {"a", "93.184.100.7:80", {"a.example"}, "rebind"},
    {"a", "93.184.101.1:80", {"a.example"}, "rebind"},
    {"host-service", "127.0.0.1:8080", {"host.weir.internal"}, "hold"},
};

TEST(Admit, WithFactsOfTheMachine) {
  for (const FactsRow& row : kWithFacts) {
    EXPECT_EQ(word(ask(named_policy(row.policy), row.destination, row.names, machine())), row.expected)
        << row.policy << " " << row.destination;
  }
}

TEST(Admit, AnExplicitProxyBringsOneCandidate) {
  const Policy& cidr = named_policy("public-deny-name");
  const Names names({"good.example"});
  Request request{.protocol = net::Protocol::tcp,
                  .address = ip("93.184.215.14"),
                  .port = 443,
                  .names = names.span(),
                  .nameless_candidate = false};
  EXPECT_EQ(word(admit(*cidr.image, {}, request)), "hold");
  EXPECT_EQ(word(admit_first_flight(*cidr.image, {}, request, tls(""))), "sni-missing");
  EXPECT_EQ(word(admit_first_flight(*cidr.image, {}, request, tls("good.example"))), "allow");
  request.names = {};
  EXPECT_EQ(word(admit(*cidr.image, {}, request)), "no-rule");
}

TEST(Admit, TheRuleThatDecidedIsNamed) {
  const Policy& run = named_policy("run-deny");
  const Verdict refused = ask(run, "93.184.215.14:443");
  EXPECT_EQ(refused.rule.layer, Layer::run);
  EXPECT_EQ(run.image->entry_text(refused.rule), "93.184.0.0/16");
  const Verdict allowed = ask(named_policy("a"), "93.184.215.14:443", {"a.example"});
  EXPECT_EQ(named_policy("a").image->entry_text(allowed.rule), "a.example");
  const Verdict by_default = ask(named_policy("public"), "93.184.215.14:443");
  EXPECT_EQ(by_default.rule, (RuleRef{.layer = Layer::session}));
  const Verdict floor = ask(named_policy("open"), "169.254.169.254:80");
  EXPECT_EQ(floor.rule, (RuleRef{.layer = Layer::floor}));
}

TEST(Admit, Port53PassesOnlyWhereWrittenOut) {
  const auto passes = [](const CompileInput& input, const char* address, net::Protocol protocol = net::Protocol::tcp) {
    return passes_port_53(*policy(input).image, ip(address), protocol);
  };
  EXPECT_TRUE(passes(flags("", {"9.9.9.9:53"}), "9.9.9.9"));
  EXPECT_TRUE(passes(flags("", {"9.9.9.9:53,853"}), "9.9.9.9"));
  EXPECT_FALSE(passes(flags("", {"9.9.9.9:53"}), "9.9.9.10"));
  EXPECT_FALSE(passes(flags("", {"9.9.9.9"}), "9.9.9.9"));
  EXPECT_FALSE(passes(flags("", {"9.9.9.9:50-60"}), "9.9.9.9"));
  EXPECT_FALSE(passes(flags("", {"9.9.9.8/31:53"}), "9.9.9.9"));
  EXPECT_FALSE(passes(flags("", {"udp://9.9.9.9:53"}), "9.9.9.9"));
  EXPECT_TRUE(passes(flags("", {"udp://9.9.9.9:53"}), "9.9.9.9", net::Protocol::udp));
  EXPECT_FALSE(passes(flags("open", {}), "9.9.9.9"));
  EXPECT_FALSE(passes(flags("public", {}, {"9.9.9.9:53"}), "9.9.9.9"));
  EXPECT_FALSE(passes(with_run(flags("public", {}), "", {"9.9.9.9:53"}), "9.9.9.9"));
  EXPECT_TRUE(passes(with_run(flags("", {"9.9.9.9:53"}), "", {"9.9.9.9:53"}), "9.9.9.9"));
}

struct NameRow {
  const char* policy;
  const char* name;
  std::uint16_t type;
  const char* expected;
};
constexpr std::uint16_t kA = 1;
constexpr std::uint16_t kNs = 2;
constexpr std::uint16_t kMx = 15;
constexpr std::uint16_t kTxt = 16;
constexpr std::uint16_t kAaaa = 28;
constexpr std::uint16_t kHttps = 65;
constexpr std::uint16_t kAny = 255;

const NameRow kNames[] = {
    {"a", "a.example", kA, "ask"},
    {"a", "a.example", kAaaa, "ask"},
    {"a", "a.example", kTxt, "nodata no-rule"},
    {"a", "a.example", kHttps, "nodata no-rule"},
    {"a", "a.example", kAny, "nodata protocol"},
    {"a", "b.example", kA, "nxdomain no-rule"},
    {"a", "x.a.example", kA, "nxdomain no-rule"},
    {"a", "example", kA, "nodata no-rule"},
    {"a", "xa.example", kA, "nxdomain no-rule"},
    {"a", "secret-data.evil.test", kA, "nxdomain no-rule"},
    {"below-a", "x.a.example", kA, "ask"},
    {"below-a", "x.y.a.example", kA, "ask"},
    {"below-a", "a.example", kA, "nodata no-rule"},
    {"below-a", "example", kNs, "nodata no-rule"},
    {"dot-a", "a.example", kA, "ask"},
    {"udp-a", "a.example", kA, "ask"},
    {"mx", "a.example", kMx, "ask"},
    {"mx", "a.example", kTxt, "nodata no-rule"},
    {"mx", "b.example", kMx, "nxdomain no-rule"},
    {"cidr", "a.example", kA, "nxdomain no-rule"},  // an allowed CIDR carries no names upstream
    {"everything4:443", "a.example", kA, "ask"},
    {"allow-public", "a.example", kA, "ask"},
    {"allow-any", "a.example", kA, "ask"},
    {"allow-private", "a.example", kA, "nxdomain no-rule"},
    {"nothing", "a.example", kA, "nxdomain no-rule"},
    {"none", "a.example", kA, "nxdomain no-rule"},
    {"public", "a.example", kA, "ask"},
    {"public", "a.example", kTxt, "ask"},
    {"public", "a.example", kHttps, "ask"},
    {"public", "a.example", kAny, "nodata protocol"},
    {"semitrusted", "a.example", kA, "ask"},
    {"semitrusted", "a.example", kTxt, "nodata no-rule"},
    {"semi-txt", "a.example", kTxt, "ask"},
    {"open", "a.example", kTxt, "ask"},
    {"public-deny-name", "evil.example", kA, "nodata denied-by-rule"},  // names below it are allowed
    {"public-deny-name", "x.evil.example", kA, "ask"},
    {"public-deny-below", "evil.example", kA, "nxdomain denied-by-rule"},
    {"public-deny-below", "x.evil.example", kA, "nxdomain denied-by-rule"},
    {"public-deny-any", "a.example", kA, "ask"},  // of addresses; judged when they are known
    {"allow-denied-below", "z.a.example", kA, "ask"},
    {"allow-denied-below", "x.a.example", kA, "nxdomain denied-by-rule"},
    {"allow-denied-below", "q.x.a.example", kA, "nxdomain denied-by-rule"},
    {"allow-denied-below", "y.a.example", kA, "nodata denied-by-rule"},
    {"floor-name-deny", "b.example", kA, "nodata denied-by-rule"},
    {"floor-name-deny", "a.example", kA, "ask"},
    {"floor-allowlist", "a.example", kA, "ask"},  // which names are asked is the session's business
    {"floor-allowlist", "a.example", kTxt, "ask"},
    {"floor-names", "x.a.example", kA, "ask"},
    {"floor-names", "b.example", kA, "nxdomain no-rule"},
    {"floor-all", "db.corp.internal", kA, "ask"},
    {"floor-all", "mail.corp.internal", kA, "nxdomain no-rule"},
    {"floor-broad", "x.com", kA, "ask"},
    {"floor-broad", "x.org", kA, "nxdomain no-rule"},
    {"run-narrower", "b.example", kA, "nxdomain no-rule"},
    {"run-narrower", "a.example", kA, "ask"},
    // Special names.
    {"a", "localhost", kA, "localhost"},
    {"open", "localhost", kA, "localhost"},
    {"open", "foo.localhost", kA, "localhost"},
    {"a", "gateway.weir.internal", kA, "gateway"},
    {"a", "host.weir.internal", kA, "nxdomain no-rule"},
    {"host-service", "host.weir.internal", kA, "host"},
    {"open", "host.weir.internal", kA, "host"},
    {"public", "host.weir.internal", kA, "nxdomain no-rule"},
    {"broad-all", "host.weir.internal", kA, "nxdomain no-rule"},
    {"open", "x.weir.internal", kA, "nxdomain no-rule"},
    {"open", "weir.internal", kA, "nodata no-rule"},
    {"public", "db", kA, "nxdomain no-rule"},
    {"public", "printer.local", kA, "nxdomain no-rule"},
    {"public", "metadata.google.internal", kA, "nxdomain no-rule"},
    {"public", "router.home.arpa", kA, "nxdomain no-rule"},
    {"public", "_dns.resolver.arpa", kA, "nxdomain no-rule"},
    {"public", "5.0.0.10.in-addr.arpa", 12, "nxdomain no-rule"},
    {"public", "1.0.16.172.in-addr.arpa", 12, "nxdomain no-rule"},
    {"public", "1.0.15.172.in-addr.arpa", 12, "ask"},
    {"public", "1.1.168.192.in-addr.arpa", 12, "nxdomain no-rule"},
    {"public", "1.1.64.100.in-addr.arpa", 12, "nxdomain no-rule"},
    {"public", "1.1.127.100.in-addr.arpa", 12, "nxdomain no-rule"},
    {"public", "1.1.128.100.in-addr.arpa", 12, "ask"},
    {"public", "1.1.63.100.in-addr.arpa", 12, "ask"},
    {"public", "8.8.8.8.in-addr.arpa", 12, "ask"},
    {"public", "1.0.0.0.d.f.ip6.arpa", 12, "nxdomain no-rule"},
    {"open", "db", kA, "ask"},
    {"open", "printer.local", kA, "ask"},
    {"open", "metadata.google.internal", kA, "ask"},
    {"broad-com", "x.com", kA, "ask"},
    {"broad-all", "anything.test", kA, "ask"},
    {"broad-all", "db", kA, "nxdomain no-rule"},
    {"broad-all", "x.local", kA, "nxdomain no-rule"},
    {"broad-internal", "db.internal", kA, "nxdomain no-rule"},
    {"corp", "db.corp.internal", kA, "ask"},
    {"corp", "corp.internal", kA, "nodata no-rule"},
    {"corp", "internal", kA, "nodata no-rule"},
    {"corp", "x.internal", kA, "nxdomain no-rule"},
    {"corp", "wiki", kA, "ask"},
    {"corp", "wiko", kA, "nxdomain no-rule"},
    {"corp", "7.2.1.10.in-addr.arpa", kA, "ask"},
    {"printer", "printer.local", kA, "ask"},
    {"printer", "other.local", kA, "nxdomain no-rule"},
};

TEST(JudgeName, Table) {
  for (const NameRow& row : kNames) {
    EXPECT_EQ(ask_name(named_policy(row.policy), row.name, row.type), row.expected)
        << row.policy << " " << row.name << " " << row.type;
  }
}

struct AnswerRow {
  const char* policy;
  const char* candidate;
  const char* address;
  const char* expected;
};

const AnswerRow kAnswers[] = {
    {"a", "a.example", "93.184.215.14", "allow"},
    {"a:443", "a.example", "93.184.215.14", "allow"},
    {"a", "a.example", "10.0.0.5", "rebind"},
    {"a", "a.example", "127.0.0.1", "rebind"},
    {"a", "a.example", "::1", "rebind"},
    {"a", "a.example", "::ffff:127.0.0.1", "rebind"},
    {"a", "a.example", "192.168.1.1", "rebind"},
    {"a", "a.example", "fd00::1", "rebind"},
    {"a", "a.example", "fe80::1", "rebind"},
    {"a", "a.example", "169.254.169.254", "floor"},
    {"a", "a.example", "0.0.0.0", "floor"},
    {"a", "a.example", "224.0.0.1", "floor"},
    {"a", "a.example", "64:ff9b::808:808", "floor"},
    {"a", "a.example", "2002:808:808::1", "floor"},
    {"a", "a.example", "::8.8.8.8", "floor"},
    {"a", "a.example", "2606:4700::5efe:808:808", "floor"},
    {"a", "b.example", "93.184.215.14", "no-rule"},
    {"udp-a", "a.example", "93.184.215.14", "allow"},
    {"exact-private", "any.example", "10.1.2.3", "allow"},  // the address is opened on its own
    {"exact-private", "any.example", "10.1.2.4", "no-rule"},
    {"icmp", "any.example", "93.184.215.14", "allow"},
    {"public", "a.example", "10.0.0.5", "floor"},
    {"public", "a.example", "93.184.215.14", "allow"},
    {"public-deny-cidr", "a.example", "93.184.215.14", "denied-by-rule"},
    {"public-deny-name", "evil.example", "93.184.215.14", "denied-by-rule"},
    {"public-deny-name", "x.example<evil.example", "93.184.215.14", "denied-by-rule"},
    {"semitrusted", "a.example", "93.184.215.14", "allow"},
    {"open", "a.example", "10.0.0.5", "allow"},
    {"open", "a.example", "169.254.169.254", "floor"},
    {"floor-nat64", "a.example", "64:ff9b::5db8:d70e", "allow"},
    {"floor-nat64", "a.example", "64:ff9b::a00:5", "floor"},
    {"rules-open-then-close", "db.example", "10.1.2.3", "allow"},
    {"rules-open-then-close", "db.example", "10.1.2.4", "rebind"},
    {"host-service", "host.weir.internal", "127.0.0.1", "allow"},
    {"host-service", "host.weir.internal", "93.184.215.14", "no-rule"},
    {"require", "a.example", "93.185.0.1", "allow"},
    {"none", "a.example", "93.184.215.14", "no-rule"},
};

TEST(JudgeAnswer, Table) {
  for (const AnswerRow& row : kAnswers) {
    EXPECT_EQ(answer(named_policy(row.policy), row.candidate, row.address), row.expected)
        << row.policy << " " << row.candidate << " " << row.address;
  }
}

// What judge_answer shows, admit can use somewhere; what it hides, admit refuses everywhere that is tried.
TEST(JudgeAnswer, AgreesWithAdmit) {
  for (const AnswerRow& row : kAnswers) {
    const Policy& made = named_policy(row.policy);
    const Names names({row.candidate});
    bool some = false;
    for (const net::Protocol protocol : {net::Protocol::tcp, net::Protocol::udp, net::Protocol::icmp}) {
      for (const int port : {1, 22, 53, 80, 123, 443, 5432, 8080, 65535}) {
        const bool icmp = protocol == net::Protocol::icmp;
        const Request request{.protocol = protocol,
                              .address = ip(row.address),
                              .port = icmp ? net::Port{0} : static_cast<net::Port>(port),
                              .names = names.span(),
                              .nameless_candidate = false};
        some = some || admit(*made.image, {}, request).allowed;
      }
    }
    EXPECT_EQ(some, std::string_view(row.expected) == "allow") << row.policy << " " << row.candidate;
  }
}

}  // namespace
}  // namespace weir::policy::testing
