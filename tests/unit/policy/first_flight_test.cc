// admit_first_flight(): what the name in the first bytes of a held connection changes.
#include <map>

#include "policy_bench.h"

namespace weir::policy::testing {
namespace {

constexpr const char* kEchRules = R"(
mode = "allowlist"
[[rules]]
action = "allow"
to = ["front.example"]
ech = true
[[rules]]
action = "allow"
to = ["plain.example"]
)";

const Policy& named_policy(const std::string& key) {
  static const auto* const inputs = new std::map<std::string, CompileInput>{
      {"a", flags("", {"a.example"})},
      {"a+b", flags("", {"a.example", "b.example"})},
      {"ports", flags("", {"a.example:443", "b.example:8443"})},
      {"cidr", flags("", {"93.184.0.0/16"})},
      {"cidr-deny", flags("", {"93.184.0.0/16"}, {"bad.example"})},
      {"cidr+a-deny", flags("", {"93.184.0.0/16", "a.example"}, {"bad.example:443"})},
      {"require", file("require_name = true\nallow = [\"a.example\", \"93.184.0.0/16\"]")},
      {"open-deny", flags("open", {}, {"evil.example", "*.evil.example"})},
      {"public", flags("public", {})},
      {"ech", file(kEchRules)},
      {"floor-deny", with_floor(flags("", {"a.example", "b.example"}), "deny = [\"b.example\"]")},
      {"rules",
       file("mode = \"allowlist\"\n[[rules]]\naction = \"allow\"\nto = [\"93.184.1.0/24\"]\n[[rules]]\naction = "
            "\"deny\"\nto = [\"b.example\"]\n[[rules]]\naction = \"allow\"\nto = [\"93.184.0.0/16\"]")},
      {"layers", with_run(flags("", {"a.example", "b.example"}), "", {"b.example"})},
  };
  static auto* const compiled = new std::map<std::string, Policy>;
  const auto found = inputs->find(key);
  EXPECT_NE(found, inputs->end()) << key;
  return compiled->try_emplace(key, policy(found->second)).first->second;
}

FirstFlight with_ech(FirstFlight flight) {
  flight.ech = true;
  return flight;
}
// A name is there, but it is none: an address literal, or several.
FirstFlight unusable(FlightKind kind) {
  return {.kind = kind, .name = {}, .name_present = true, .ech = false};
}

struct Row {
  const char* policy;
  net::Port port;
  std::vector<std::string> names;
  FirstFlight flight;
  const char* expected;
};

const std::vector<Row>& rows() {
  using Kind = FlightKind;
  static const auto* const all = new std::vector<Row>{
      // TLS on 443 where only a name can allow.
      {"a", 443, {"a.example"}, tls("a.example"), "allow"},
      {"a", 443, {"a.example"}, tls("A.Example."), "allow"},
      {"a", 443, {"a.example"}, tls(""), "sni-missing"},
      {"a", 443, {"a.example"}, tls("b.example"), "sni-mismatch"},
      {"a", 443, {"a.example", "b.example"}, tls("b.example"), "sni-mismatch"},
      {"a", 443, {"a.example"}, unusable(Kind::tls), "sni-mismatch"},
      {"a", 443, {"a.example"}, flight_of(Kind::opaque), "not-tls"},
      {"a", 443, {"a.example"}, flight_of(Kind::malformed), "malformed"},
      {"a", 443, {"a.example"}, flight_of(Kind::h2c_preface), "not-http"},
      {"a", 443, {"a.example"}, http("a.example"), "not-tls"},
      {"a+b", 443, {"a.example"}, tls("b.example"), "sni-mismatch"},  // b does not lead here
      {"a+b", 443, {"a.example", "b.example"}, tls("b.example"), "allow"},
      // HTTP on 80.
      {"a", 80, {"a.example"}, http("a.example"), "allow"},
      {"a", 80, {"a.example"}, http(""), "host-missing"},
      {"a", 80, {"a.example"}, http("b.example"), "host-mismatch"},
      {"a", 80, {"a.example"}, unusable(Kind::http), "host-mismatch"},
      {"a", 80, {"a.example"}, flight_of(Kind::opaque), "not-http"},
      {"a", 80, {"a.example"}, tls("a.example"), "not-http"},
      {"a", 80, {"a.example"}, flight_of(Kind::h2c_preface), "not-http"},
      // Anywhere else: TLS and HTTP are judged where they start, the rest passes on the name alone.
      {"a", 22, {"a.example"}, flight_of(Kind::opaque), "allow"},
      {"a", 22, {"a.example"}, tls("a.example"), "allow"},
      {"a", 22, {"a.example"}, tls("b.example"), "sni-mismatch"},
      {"a", 8080, {"a.example"}, http("a.example"), "allow"},
      {"a", 8080, {"a.example"}, http("b.example"), "host-mismatch"},
      {"a", 8080, {"a.example"}, flight_of(Kind::h2c_preface), "not-http"},
      {"a", 8080, {"a.example"}, flight_of(Kind::malformed), "malformed"},
      {"ports", 443, {"a.example", "b.example"}, tls("b.example"), "sni-mismatch"},
      {"ports", 8443, {"a.example", "b.example"}, tls("b.example"), "allow"},
      {"ports", 8443, {"a.example", "b.example"}, flight_of(Kind::opaque), "allow"},
      // Where no name matters nothing is judged.
      {"cidr", 443, {}, tls("anything.example"), "allow"},
      {"cidr", 443, {"a.example"}, flight_of(Kind::malformed), "allow"},
      {"public", 443, {}, with_ech(tls("x.example")), "allow"},
      {"public", 80, {}, flight_of(Kind::h2c_preface), "allow"},
      // The nameless candidate survives, but some names are denied.
      {"cidr-deny", 443, {}, tls("good.example"), "allow"},
      {"cidr-deny", 443, {}, tls("bad.example"), "denied-by-rule"},
      {"cidr-deny", 443, {"bad.example", "good.example"}, tls("bad.example"), "denied-by-rule"},
      {"cidr-deny", 443, {"bad.example", "good.example"}, tls("good.example"), "allow"},
      {"cidr-deny", 443, {}, unusable(Kind::tls), "allow"},
      {"cidr-deny", 22, {}, flight_of(Kind::opaque), "allow"},
      {"cidr-deny", 443, {}, flight_of(Kind::malformed), "malformed"},
      {"cidr-deny", 80, {}, flight_of(Kind::h2c_preface), "not-http"},
      {"cidr-deny", 80, {}, unusable(Kind::http), "allow"},
      {"cidr-deny", 443, {}, with_ech(tls("good.example")), "ech"},
      {"cidr-deny", 443, {"x.example<bad.example", "y.example"}, tls("x.example"), "denied-by-rule"},
      {"cidr+a-deny", 443, {"a.example"}, tls("a.example"), "allow"},
      {"cidr+a-deny", 443, {"a.example"}, tls("bad.example"), "denied-by-rule"},
      {"cidr+a-deny", 80, {"a.example"}, http("bad.example"), "allow"},  // denied on 443 only: not even held
      {"open-deny", 443, {}, tls("x.evil.example"), "denied-by-rule"},
      {"open-deny", 8443, {}, tls("evil.example"), "denied-by-rule"},
      {"open-deny", 443, {}, tls("notevil.example"), "allow"},
      {"open-deny", 443, {}, tls(""), "allow"},
      // require_name drops the nameless candidate.
      {"require", 443, {"b.example"}, tls("b.example"), "allow"},
      {"require", 443, {"b.example"}, tls("c.example"), "sni-mismatch"},
      {"require", 443, {"b.example"}, tls(""), "sni-missing"},
      {"require", 22, {"b.example"}, flight_of(Kind::opaque), "allow"},
      // ECH.
      {"ech", 443, {"front.example"}, with_ech(tls("front.example")), "allow"},
      {"ech", 443, {"plain.example"}, with_ech(tls("plain.example")), "ech"},
      {"ech", 443, {"front.example", "plain.example"}, with_ech(tls("plain.example")), "ech"},
      {"a", 443, {"a.example"}, with_ech(tls("a.example")), "ech"},
      // Layers.
      {"floor-deny", 443, {"a.example", "b.example"}, tls("b.example"), "denied-by-rule"},
      {"floor-deny", 443, {"a.example", "b.example"}, tls("a.example"), "allow"},
      {"layers", 443, {"a.example", "b.example"}, tls("a.example"), "sni-mismatch"},
      {"layers", 443, {"a.example", "b.example"}, tls("b.example"), "allow"},
      // Rules in their order: the address of the table stands before the denied name only in the narrower range.
      {"rules", 443, {}, tls("b.example"), "denied-by-rule"},
      {"rules", 443, {}, tls("c.example"), "allow"},
      // What is refused at the SYN stays refused.
      {"a", 443, {}, tls("a.example"), "no-rule"},
  };
  return *all;
}

TEST(FirstFlight, Table) {
  for (const Row& row : rows()) {
    const std::string destination = "93.184.215.14:" + std::to_string(row.port);
    EXPECT_EQ(word(fly(named_policy(row.policy), destination, row.names, row.flight)), row.expected)
        << row.policy << " " << row.port << " " << (row.flight.name ? row.flight.name->text() : "-") << " "
        << static_cast<int>(row.flight.kind);
  }
}

TEST(FirstFlight, AnAllowingRuleBeforeTheDenialOfANameWins) {
  const Policy& rules = named_policy("rules");
  EXPECT_EQ(word(fly(rules, "93.184.1.1:443", {}, tls("b.example"))), "allow");
  EXPECT_EQ(word(fly(rules, "93.184.1.1:443", {"b.example"}, tls("b.example"))), "allow");
  EXPECT_EQ(word(fly(rules, "93.184.2.1:443", {"c.example"}, tls("b.example"))), "denied-by-rule");
}

TEST(FirstFlight, UdpIsNeverHeld) {
  EXPECT_EQ(word(ask(named_policy("open-deny"), "udp://93.184.215.14:53")), "allow");
  EXPECT_EQ(word(ask(named_policy("open-deny"), "icmp://93.184.215.14")), "allow");
  EXPECT_EQ(word(ask(named_policy("open-deny"), "93.184.215.14:53")), "hold");
}

}  // namespace
}  // namespace weir::policy::testing
