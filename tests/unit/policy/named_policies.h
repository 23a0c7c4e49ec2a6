// The policies that the tables of this room ask, by a short name.
#pragma once

#include <map>

#include "policy_bench.h"

namespace weir::policy::testing {

// Policies by name, compiled once.
inline const Policy& named_policy(const std::string& key) {
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

}  // namespace weir::policy::testing
