// judge_name() and judge_answer() over tables: a policy, a question, the word of the answer.
#include "named_policies.h"

namespace weir::policy::testing {
namespace {

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

TEST(ChosenBy, TheGuestChoosesOnlyWhatAWildcardAloneCovers) {
  const struct {
    const char* policy;
    const char* name;
    NameChoice expected;
  } rows[] = {
      {"a", "a.example", NameChoice::policy},
      {"below-a", "x.a.example", NameChoice::guest},
      {"dot-a", "a.example", NameChoice::policy},
      {"dot-a", "x.a.example", NameChoice::guest},
      {"public", "x.a.example", NameChoice::policy},
      {"semitrusted", "a.example", NameChoice::policy},
      {"allow-public", "a.example", NameChoice::policy},
      {"open", "a.example", NameChoice::policy},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(chosen_by(*named_policy(row.policy).image, *net::DomainName::parse(row.name)), row.expected)
        << row.policy << " " << row.name;
  }
}

}  // namespace
}  // namespace weir::policy::testing
