// The vectors of policy.md section 10, row by row.
#include <functional>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

struct Vector {
  const char* row;
  const char* expected;
  std::function<std::string()> actual;
};

std::string compile_word(const CompileInput& input) {
  const auto compiled = compile_policy(input);
  if (compiled) return "compiles";
  return is_cannot_widen(compiled.error()) ? "cannot_widen" : compiled.error().what();
}

const Policy& cidr_and_bad() {
  static const Policy made = policy(flags("", {"93.184.0.0/16"}, {"bad.example"}));
  return made;
}
const Policy& open_but_evil() {
  static const Policy made = policy(flags("open", {}, {"evil.example"}));
  return made;
}
const Policy& port_per_name() {
  static const Policy made = policy(flags("", {"a.example:443", "b.example:22"}));
  return made;
}
const Policy& public_but_mail() {
  static const Policy made = policy(flags("public", {}, {"m.example:25"}));
  return made;
}
const Policy& deny_then_allow() {
  static const Policy made = policy(file(R"(
mode = "allowlist"
[[rules]]
action = "deny"
to = ["93.184.0.0/16"]
[[rules]]
action = "allow"
to = ["example.com"]
)"));
  return made;
}
const Policy& allow_then_deny() {
  static const Policy made = policy(file(R"(
mode = "allowlist"
[[rules]]
action = "allow"
to = ["example.com"]
[[rules]]
action = "deny"
to = ["93.184.0.0/16"]
)"));
  return made;
}
const Policy& database() {
  static const Policy made = policy(flags("", {"db.corp.internal:5432", "10.1.2.0/24:5432"}));
  return made;
}

HostFacts neighbour_facts() {
  return lan({"2001:470:1:2::/64"});
}
HostFacts published_8080() {
  HostFacts facts;
  facts.host = {ip("127.0.0.1"), ip("198.51.100.9")};
  facts.own_listeners = {{.address = ip("0.0.0.0"), .port = 8080}};
  return facts;
}

const Vector kVectors[] = {
    {"CIDR with a denied name inside, SNI of the denied one", "denied-by-rule",
     [] { return word(fly(cidr_and_bad(), "93.184.1.1:443", {}, tls("bad.example"))); }},
    {"... and the SYN is held for it", "hold", [] { return word(ask(cidr_and_bad(), "93.184.1.1:443")); }},
    {"same, no SNI", "allow", [] { return word(fly(cidr_and_bad(), "93.184.1.1:443", {}, tls(""))); }},
    {"same, no SNI, require_name", "no-name",
     [] {
       const Policy strict = policy(file("require_name = true\nallow = [\"93.184.0.0/16\"]\ndeny = [\"bad.example\"]"));
       return word(ask(strict, "93.184.1.1:443"));
     }},
    {"... also after a name led there", "sni-missing",
     [] {
       const Policy strict = policy(file("require_name = true\nallow = [\"93.184.0.0/16\"]\ndeny = [\"bad.example\"]"));
       return word(fly(strict, "93.184.1.1:443", {"good.example"}, tls("")));
     }},
    {"open, deny evil: Host evil at an address nobody resolved", "denied-by-rule",
     [] { return word(fly(open_but_evil(), "93.184.1.1:80", {}, http("evil.example"))); }},
    {"... without a readable name", "allow",
     [] { return word(fly(open_but_evil(), "93.184.1.1:80", {}, flight_of(FlightKind::opaque))); }},
    {"allow a, deny b, shared: SSH after asking only a", "allow",
     [] {
       const Policy made = policy(flags("", {"a.example"}, {"b.example"}));
       return word(fly(made, "93.184.1.1:22", {"a.example"}, flight_of(FlightKind::opaque)));
     }},
    {"a on 443, b on 22, shared: TLS on 22 with SNI a", "sni-mismatch",
     [] { return word(fly(port_per_name(), "93.184.1.1:22", {"a.example", "b.example"}, tls("a.example"))); }},
    {"... with SNI b", "allow",
     [] { return word(fly(port_per_name(), "93.184.1.1:22", {"a.example", "b.example"}, tls("b.example"))); }},
    {"public, deny m:25: DNS m", "ask", [] { return ask_name(public_but_mail(), "m.example"); }},
    {"... its address", "allow", [] { return answer(public_but_mail(), "m.example", "93.184.1.1"); }},
    {"... TCP 25 while m is the only live name", "denied-by-rule",
     [] { return word(ask(public_but_mail(), "93.184.1.1:25", {"m.example"})); }},
    {"... TCP 25 when another name leads there too", "hold",
     [] { return word(ask(public_but_mail(), "93.184.1.1:25", {"m.example", "n.example"})); }},
    {"allow shop, deny tracker, shop CNAME tracker", "denied-by-rule",
     [] {
       const Policy made = policy(flags("", {"shop.example"}, {"tracker.example"}));
       return answer(made, "shop.example<tracker.example", "93.184.1.1");
     }},
    {"allow 0.0.0.0/0:443: 10.0.0.5:443", "floor",
     [] { return word(ask(policy(flags("", {"0.0.0.0/0:443"})), "10.0.0.5:443")); }},
    {"allow @private: 10.0.0.5", "allow", [] { return word(ask(policy(flags("", {"@private"})), "10.0.0.5:22")); }},
    {"... printed at start", "'@private' opens @private, which is closed otherwise",
     [] { return compile_policy(flags("", {"@private"}))->notices.at(0); }},
    {"db.corp.internal and its CIDR: DNS", "ask", [] { return ask_name(database(), "db.corp.internal"); }},
    {"... the answer", "allow", [] { return answer(database(), "db.corp.internal", "10.1.2.3"); }},
    {"... TCP", "allow", [] { return word(ask(database(), "10.1.2.3:5432", {"db.corp.internal"})); }},
    {"rules: deny CIDR, then allow example.com inside it: asked", "ask",
     [] { return ask_name(deny_then_allow(), "example.com"); }},
    {"... the address is cut away", "denied-by-rule",
     [] { return answer(deny_then_allow(), "example.com", "93.184.215.14"); }},
    {"swapped: TCP with candidate example.com", "hold",
     [] { return word(ask(allow_then_deny(), "93.184.215.14:443", {"example.com"})); }},
    {"... its SNI", "allow",
     [] { return word(fly(allow_then_deny(), "93.184.215.14:443", {"example.com"}, tls("example.com"))); }},
    {"... nameless", "denied-by-rule", [] { return word(ask(allow_then_deny(), "93.184.215.14:443")); }},
    {"dual.example: A private", "rebind",
     [] { return answer(policy(flags("", {"dual.example"})), "dual.example", "10.0.0.5"); }},
    {"dual.example: AAAA public", "allow",
     [] { return answer(policy(flags("", {"dual.example"})), "dual.example", "2606:2800:21f::1"); }},
    {"allow *.x.example: DNS x.example", "nodata no-rule",
     [] { return ask_name(policy(flags("", {"*.x.example"})), "x.example"); }},
    {"... NS example", "nodata no-rule", [] { return ask_name(policy(flags("", {"*.x.example"})), "example", 2); }},
    {"session allowlist a, run allowlist b", "cannot_widen",
     [] { return compile_word(with_run(flags("", {"a.example"}), "", {"b.example"})); }},
    {"session public, run allow 10.1.2.3", "cannot_widen",
     [] { return compile_word(with_run(flags("public", {}), "", {"10.1.2.3"})); }},
    {"public: a neighbour's global IPv6 address", "floor",
     [] { return word(ask(policy(flags("public", {})), "[2001:470:1:2::7]:443", {}, neighbour_facts())); }},
    {"... the same address without the neighbourhood", "allow",
     [] { return word(ask(policy(flags("public", {})), "[2001:470:1:2::7]:443")); }},
    {"allow ::ffff:93.184.215.14", "allow",
     [] { return word(ask(policy(flags("", {"::ffff:93.184.215.14"})), "93.184.215.14:443")); }},
    {"host.weir.internal:8080 while another sandbox publishes 8080", "floor",
     [] {
       const Policy made = policy(flags("", {"host.weir.internal:8080"}));
       return word(ask(made, "127.0.0.1:8080", {"host.weir.internal"}, published_8080()));
     }},
    {"... while nobody does", "hold",
     [] {
       const Policy made = policy(flags("", {"host.weir.internal:8080"}));
       return word(ask(made, "127.0.0.1:8080", {"host.weir.internal"}));
     }},
};

TEST(PolicyVectors, Section10) {
  for (const Vector& vector : kVectors) {
    EXPECT_EQ(vector.actual(), vector.expected) << vector.row;
  }
}

// "allow h.example (TTL 20): connect 5 minutes after the answer" is the name book's: name_book_test.cc.

}  // namespace
}  // namespace weir::policy::testing
