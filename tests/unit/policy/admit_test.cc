// admit() over tables: a policy, a question, the word of the answer.
#include "named_policies.h"

namespace weir::policy::testing {
namespace {

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

}  // namespace
}  // namespace weir::policy::testing
